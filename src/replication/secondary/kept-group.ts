/**
 * Groups of the container, from bytes and to bytes: an index of some blocks, and their content behind it.
 */
import { crc32c } from '@node-rs/crc32';
import { BLOCK_BYTES } from '../blocks.js';
import { SECTOR_BYTES } from '../file-header.js';
import { KEPT_ENTRY, KEPT_GROUP, KEPT_KINDS, KEPT_MAGIC } from './fields.js';
import { countable, sameBytes } from './slots.js';

/** Blocks that follow one another, and what they held. */
export interface KeptRun {
  readonly block: number;
  readonly count: number;
  readonly isZero: boolean;
}

export interface KeptEntry extends KeptRun {
  readonly checksum: number;
}

export interface KeptIndex {
  readonly number: number;
  readonly entries: readonly KeptEntry[];
  /** Bytes of index and content. */
  readonly indexBytes: number;
  readonly contentBytes: number;
}

/** As many fit into an index of so many sectors that it is read at once. */
export const MOST_ENTRIES = 680;

export function indexBytes(entries: number): number {
  return Math.ceil((KEPT_GROUP.sizeBytes + entries * KEPT_ENTRY.sizeBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

/** Bytes of the image that a run has; the last block may be short. */
export function runBytes({ block, count }: Pick<KeptRun, 'block' | 'count'>, sizeBytes: number): number {
  return Math.min((block + count) * BLOCK_BYTES, sizeBytes) - block * BLOCK_BYTES;
}

export function encodeIndex(
  keptId: Uint8Array,
  number: number,
  entries: readonly KeptEntry[],
  content: number,
): Uint8Array {
  const bytes = new Uint8Array(indexBytes(entries.length));
  const view = KEPT_GROUP.at(bytes);
  view.setNumber('magic', KEPT_MAGIC);
  view.setBytes('kept_id', keptId);
  view.setBig('number', BigInt(number));
  view.setNumber('entries', entries.length);
  view.setBig('content', BigInt(content));
  for (const [at, { block, count, isZero, checksum }] of entries.entries()) {
    const entry = KEPT_ENTRY.at(bytes, KEPT_GROUP.sizeBytes + at * KEPT_ENTRY.sizeBytes);
    entry.setBig('block', BigInt(block));
    entry.setBig('count', BigInt(count));
    entry.setNumber('kind', isZero ? KEPT_KINDS.zeroes : KEPT_KINDS.data);
    entry.setNumber('checksum', checksum);
  }
  view.setNumber('checksum', crc32c(bytes.subarray(4)));
  return bytes;
}

/** How long the index is that begins with this sector; null: none of this container does. */
export function indexLength(sector: Uint8Array, keptId: Uint8Array, number: number): number | null {
  const view = KEPT_GROUP.at(sector);
  if (view.number('magic') !== KEPT_MAGIC || !sameBytes(view.bytes('kept_id'), keptId)) return null;
  const entries = view.number('entries');
  return view.big('number') === BigInt(number) && entries <= MOST_ENTRIES ? indexBytes(entries) : null;
}

/** null: it is no good, or says what no index says. */
export function decodeIndex(bytes: Uint8Array, sizeBytes: number): KeptIndex | null {
  const view = KEPT_GROUP.at(bytes);
  if (view.number('checksum') !== crc32c(bytes.subarray(4))) return null;
  const entries: KeptEntry[] = [];
  let content = 0;
  for (let at = 0; at < view.number('entries'); at++) {
    const entry = KEPT_ENTRY.at(bytes, KEPT_GROUP.sizeBytes + at * KEPT_ENTRY.sizeBytes);
    const [block, count] = [countable(entry.big('block')), countable(entry.big('count'))];
    if (block === null || count === null || (block + count - 1) * BLOCK_BYTES >= sizeBytes) return null;
    const isZero = entry.number('kind') === KEPT_KINDS.zeroes;
    const run = { block, count, isZero, checksum: entry.number('checksum') };
    entries.push(run);
    content += isZero ? 0 : runBytes(run, sizeBytes);
  }
  const [number, contentBytes] = [countable(view.big('number')), countable(view.big('content'))];
  if (number === null || contentBytes !== content) return null;
  return { number, entries, indexBytes: bytes.length, contentBytes };
}
