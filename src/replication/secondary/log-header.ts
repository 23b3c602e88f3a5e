/**
 * The header of the epoch log: which records count, and from where they are read. Two slots (slots.ts).
 *
 * Invariants
 * - All that lies before the tail is in the image and flushed there before a header says so.
 * - Room before a tail is used again when a header with that tail, or a later one, is durable.
 * - Each opening that writes begins with a header of a new log_id, durable in both slots before the first record: so no
 *   record that an earlier opening dropped can ever count again.
 */

import type { BlockDevice } from '../../device/contract.js';
import { countable } from '../checked-values.js';
import { SECTOR_BYTES } from '../file-header.js';
import { EPOCH_LOG_HEADER, LOG_MAGIC, SECONDARY_VERSION } from './fields.js';
import type { EpochPoint } from './marks.js';
import { type Decoded, isSealed, refuseLater, type Sequenced, SLOTS_BYTES, Slots, seal } from './slots.js';

export interface LogHeader extends Sequenced {
  /** 16 bytes. */
  readonly logId: Uint8Array;
  /** 16 bytes. */
  readonly replicaUuid: Uint8Array;
  readonly ringBytes: number;
  /** Position, counted since the opening. */
  readonly tail: number;
  /** The last epoch before the tail. */
  readonly applied: EpochPoint;
  readonly keptId: Uint8Array;
  /** Groups that the container has at least. */
  readonly keptGroups: number;
  readonly unknownRoCompat: number;
}

/** Bytes of the circular part of a log of so many bytes. */
export function ringBytesOf(device: BlockDevice): number {
  return Math.max(0, Math.floor((device.size - SLOTS_BYTES) / SECTOR_BYTES) * SECTOR_BYTES);
}

export function headerSlots(device: BlockDevice): Slots<LogHeader> {
  return new Slots(device, {
    what: 'the header of the epoch log',
    encode: encodeHeader,
    decode: (sector) => decodeHeader(sector, device),
  });
}

function encodeHeader(header: LogHeader): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = EPOCH_LOG_HEADER.at(bytes);
  view.setNumber('magic', LOG_MAGIC);
  view.setNumber('version', SECONDARY_VERSION);
  view.setBig('sequence', BigInt(header.sequence));
  view.setBytes('log_id', header.logId);
  view.setBytes('replica_uuid', header.replicaUuid);
  view.setBig('ring_bytes', BigInt(header.ringBytes));
  view.setBig('tail', BigInt(header.tail));
  view.setBig('applied', BigInt(header.applied.epoch));
  view.setBig('applied_ms', BigInt(header.applied.atMs));
  view.setBytes('kept_id', header.keptId);
  view.setBig('kept_groups', BigInt(header.keptGroups));
  return seal(bytes);
}

function decodeHeader(sector: Uint8Array, device: BlockDevice): Decoded<LogHeader> {
  const view = EPOCH_LOG_HEADER.at(sector);
  if (view.number('magic') !== LOG_MAGIC) return { bad: 'there is none' };
  if (!isSealed(sector)) return { bad: 'its checksum is wrong' };
  const [version, incompat] = [view.number('version'), view.number('incompat')];
  refuseLater(`${device.name}: the epoch log`, { version, incompat }, SECONDARY_VERSION);
  const fields = ['sequence', 'ring_bytes', 'tail', 'applied', 'applied_ms', 'kept_groups'] as const;
  const numbers = fields.map((field) => countable(view.big(field)));
  if (numbers.includes(null)) return { bad: 'it counts further than any log comes' };
  const [sequence, ringBytes, tail, epoch, atMs, keptGroups] = numbers as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (ringBytes === 0 || ringBytes % SECTOR_BYTES !== 0 || ringBytes > ringBytesOf(device))
    return { bad: `a log of ${ringBytes} bytes is not in ${device.size} bytes` };
  if (tail % SECTOR_BYTES !== 0) return { bad: `no record begins at ${tail}` };
  return {
    sequence,
    logId: view.bytes('log_id').slice(),
    replicaUuid: view.bytes('replica_uuid').slice(),
    ringBytes,
    tail,
    applied: { epoch, atMs },
    keptId: view.bytes('kept_id').slice(),
    keptGroups,
    unknownRoCompat: view.number('ro_compat'),
  };
}
