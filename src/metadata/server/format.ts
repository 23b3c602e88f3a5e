/**
 * New metadata in an engine, and what they were made with. The pool is all extents that there are, of whatever
 * target: which of them lies where is the volume's to say.
 */
import type { MetadataEngine } from '../engine/contract.js';
import { Draft } from './draft.js';
import { key } from './keys.js';
import { decode, encode } from './records.js';
import { refuse } from './refusals.js';
import type { Config } from './state.js';

const VERSION = 1;
/** A bitmap of a block a bit is at most two thirds of a value of the engine. */
export const MOST_BLOCKS = 16_384;
const MOST_EXTENTS = 2 ** 40;

export interface MetadataShape {
  readonly blocksPerExtent: number;
  /** Of the pool. */
  readonly extents: number;
}

/** Throws NOT_BLANK where there are metadata already, OUT_OF_RANGE for a shape that cannot be. */
export async function formatMetadata(engine: MetadataEngine, shape: MetadataShape): Promise<void> {
  const { blocksPerExtent, extents } = shape;
  check('blocks of an extent', blocksPerExtent, MOST_BLOCKS);
  check('extents of a pool', extents, MOST_EXTENTS);
  if ((await engine.get(key('C'))) !== null) {
    throw refuse('NOT_BLANK', 'there are metadata already', 'Use what is there, or another image.');
  }
  const draft = new Draft(engine);
  draft.put(key('C'), encode('config', { version: VERSION, blocksPerExtent, extents }));
  const counters = {
    nextFile: 1,
    nextMap: 1,
    nextTransaction: 1,
    nextClient: 1,
    freeExtents: extents,
    reservedExtents: 0,
    journalExtents: 0,
    cursor: 0,
  };
  draft.put(key('K'), encode('counters', counters));
  await engine.commit(draft.changes());
}

/** Throws NOT_ASSEMBLED where there are none, UNSUPPORTED where a later version made them. */
export async function readConfig(engine: Pick<MetadataEngine, 'get'>): Promise<Config> {
  const value = await engine.get(key('C'));
  if (value === null)
    throw refuse('NOT_ASSEMBLED', 'there are no metadata here', 'holdfast create --format extents');
  const config = decode('config', value);
  if (config.version !== VERSION) {
    throw refuse('UNSUPPORTED', `the metadata have version ${config.version}: this program knows ${VERSION}`);
  }
  return config;
}

function check(what: string, number: number, most: number): void {
  if (Number.isInteger(number) && number >= 1 && number <= most) return;
  throw refuse('OUT_OF_RANGE', `there cannot be ${number} ${what}: 1 to ${most}`, undefined, { number });
}
