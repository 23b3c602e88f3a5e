/**
 * What a secondary is, durably: whose, in which state, at which point. Two slots (slots.ts).
 *
 * States
 *
 *   initial ---endResync---> consistent ---beginResync---> resyncing ---endResync---> consistent
 *      |                         |                             |
 *      | (by force)              |                             +-> promoting: kept blocks go back --+
 *      +-------------------------+------------------------------------------------------------------+-> promoted
 *
 * and back again, when what was written since is given up (demote.ts): promoted ---> consistent.
 *
 * A changed mark is durable, in both slots, before what depends on it:
 * - `resyncing` before the first epoch of the resync is applied, and after all epochs up to its point are applied and flushed.
 * - "not whole" before the first block is overwritten that is not in the container.
 * - `consistent` when all epochs up to its point are applied and flushed; before the container is emptied.
 * - `promoting` before the first block is put back: a primary that took its blocks for synchronized would not send them again.
 * - `promoted` when the image is flushed.
 */

import { randomBytes } from 'node:crypto';
import type { BlockDevice } from '../../device/contract.js';
import { countable } from '../checked-values.js';
import { SECTOR_BYTES } from '../file-header.js';
import { MARKS_FLAGS, MARKS_MAGIC, SECONDARY_MARKS, SECONDARY_VERSION } from './fields.js';
import { type Decoded, isSealed, refuseLater, type Sequenced, SLOTS_BYTES, Slots, seal } from './slots.js';

export type SecondaryState = 'initial' | 'consistent' | 'resyncing' | 'promoting' | 'promoted';

const STATES: readonly SecondaryState[] = ['initial', 'consistent', 'resyncing', 'promoting', 'promoted'];

/** Bytes of the device that the marks take. */
export const MARKS_BYTES = SLOTS_BYTES;

/** A generation of a volume: promote starts a new one (docs/decisions/0012). */
export interface Generation {
  readonly number: number;
  /** 16 bytes, random. */
  readonly id: Uint8Array;
}

/** The end of an epoch. */
export interface EpochPoint {
  /** 0: before the first. */
  readonly epoch: number;
  /** The primary's wall clock then, milliseconds since 1970. */
  readonly atMs: number;
}

export interface Marks extends Sequenced {
  /** 16 bytes, of the primary. */
  readonly volumeUuid: Uint8Array;
  /** 16 bytes, of this secondary. */
  readonly replicaUuid: Uint8Array;
  readonly sizeBytes: number;
  readonly state: SecondaryState;
  readonly generation: Generation;
  readonly parent: Generation;
  readonly point: EpochPoint;
  /** 16 bytes, of what the container keeps. */
  readonly keptId: Uint8Array;
  /** All that was overwritten since the point is in the container. */
  readonly isKeptWhole: boolean;
  /** It was promoted at no consistent point. */
  readonly isForced: boolean;
  /** Bits of ro_compat that are not known here. */
  readonly unknownRoCompat: number;
}

export function newId(): Uint8Array {
  return Uint8Array.from(randomBytes(16));
}

/** Throws METADATA_DAMAGED where there are none that are good, UNSUPPORTED where a later version wrote them. */
export async function readMarks(device: BlockDevice): Promise<Marks> {
  return (await marksSlots(device).read()).value;
}

/** The marks of a secondary that is written. */
export class MarksFile {
  private constructor(
    private readonly slots: Slots<Marks>,
    private marks: Marks,
  ) {}

  /** Both slots say the same when it returns. Errors as `readMarks`. */
  static async open(device: BlockDevice): Promise<MarksFile> {
    const slots = marksSlots(device);
    const { value, areAlike } = await slots.read();
    const file = new MarksFile(slots, value);
    if (!areAlike) await file.change({});
    return file;
  }

  static async create(device: BlockDevice, marks: Marks): Promise<void> {
    await marksSlots(device).putBoth(marks);
  }

  get current(): Marks {
    return this.marks;
  }

  /** Durable when it returns. */
  async change(changes: Partial<Omit<Marks, 'sequence'>>): Promise<void> {
    const marks = { ...this.marks, ...changes, sequence: this.marks.sequence + 1 };
    await this.slots.putBoth(marks);
    this.marks = marks;
  }
}

function marksSlots(device: BlockDevice): Slots<Marks> {
  return new Slots(device, {
    what: 'the marks of the secondary',
    encode: encodeMarks,
    decode: (sector) => decodeMarks(sector, device.name),
  });
}

function encodeMarks(marks: Marks): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = SECONDARY_MARKS.at(bytes);
  view.setNumber('magic', MARKS_MAGIC);
  view.setNumber('version', SECONDARY_VERSION);
  view.setNumber('state', STATES.indexOf(marks.state) + 1);
  view.setBig('sequence', BigInt(marks.sequence));
  view.setBytes('volume_uuid', marks.volumeUuid);
  view.setBytes('replica_uuid', marks.replicaUuid);
  view.setBig('size', BigInt(marks.sizeBytes));
  view.setBig('generation', BigInt(marks.generation.number));
  view.setBytes('generation_id', marks.generation.id);
  view.setBig('parent', BigInt(marks.parent.number));
  view.setBytes('parent_id', marks.parent.id);
  view.setBig('point_epoch', BigInt(marks.point.epoch));
  view.setBig('point_ms', BigInt(marks.point.atMs));
  view.setBytes('kept_id', marks.keptId);
  const whole = marks.isKeptWhole ? MARKS_FLAGS.keptWhole : 0;
  view.setNumber('flags', whole | (marks.isForced ? MARKS_FLAGS.forced : 0));
  return seal(bytes);
}

function decodeMarks(sector: Uint8Array, name: string): Decoded<Marks> {
  const view = SECONDARY_MARKS.at(sector);
  if (view.number('magic') !== MARKS_MAGIC) return { bad: 'there are none' };
  if (!isSealed(sector)) return { bad: 'their checksum is wrong' };
  const [version, incompat] = [view.number('version'), view.number('incompat')];
  refuseLater(`${name}: the marks of the secondary`, { version, incompat }, SECONDARY_VERSION);
  const state = STATES[view.number('state') - 1];
  if (state === undefined) return { bad: `there is no state ${view.number('state')}` };
  const numbers = (['sequence', 'size', 'generation', 'parent', 'point_epoch', 'point_ms'] as const).map(
    (field) => countable(view.big(field)),
  );
  if (numbers.includes(null)) return { bad: 'they count further than any secondary comes' };
  const [sequence, sizeBytes, generation, parent, epoch, atMs] = numbers as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const flags = view.number('flags');
  return {
    sequence,
    volumeUuid: view.bytes('volume_uuid').slice(),
    replicaUuid: view.bytes('replica_uuid').slice(),
    sizeBytes,
    state,
    generation: { number: generation, id: view.bytes('generation_id').slice() },
    parent: { number: parent, id: view.bytes('parent_id').slice() },
    point: { epoch, atMs },
    keptId: view.bytes('kept_id').slice(),
    isKeptWhole: (flags & MARKS_FLAGS.keptWhole) !== 0,
    isForced: (flags & MARKS_FLAGS.forced) !== 0,
    unknownRoCompat: view.number('ro_compat'),
  };
}
