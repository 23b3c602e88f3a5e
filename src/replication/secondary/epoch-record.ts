/**
 * Records of the epoch log, from bytes and to bytes: some entries of one epoch, and their content behind them. A write to
 * the log is a record or several.
 */

import { crc32c } from '@node-rs/crc32';
import { countable, sameBytes } from '../checked-values.js';
import { SECTOR_BYTES } from '../file-header.js';
import { ENTRY_KINDS, EPOCH_ENTRY, EPOCH_RECORD, RECORD_FLAGS, RECORD_MAGIC } from './fields.js';

export type EntryKind = keyof typeof ENTRY_KINDS;

export interface Entry {
  readonly offset: number;
  readonly length: number;
  readonly kind: EntryKind;
}

export interface RecordHead {
  /** 16 bytes. */
  readonly logId: Uint8Array;
  readonly position: number;
  readonly epoch: number;
  /** The last epoch that was durable when it was written. */
  readonly durable: number;
  /** Of the epoch, before it. */
  readonly records: number;
  /** CRC-32C of the checksums of those. */
  readonly chain: number;
  /** Milliseconds since 1970, where the epoch ends with it; null: it goes on. */
  readonly endedMs: number | null;
}

/** As it is read: bytes of the whole record, and how many entries it says that it has. */
export interface ReadHead extends RecordHead {
  readonly length: number;
  readonly entries: number;
}

const KINDS = Object.keys(ENTRY_KINDS) as EntryKind[];
/** Bytes of a record that has one entry or none, without content. */
const LEAST_BYTES = SECTOR_BYTES;

/** Bytes of header and entries: what content begins behind. */
export function headBytes(entries: number): number {
  return Math.ceil((EPOCH_RECORD.sizeBytes + entries * EPOCH_ENTRY.sizeBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

/**
 * What a call counts for in an epoch, in bytes: it takes so many of the log at most. `lengthBytes`: those of a write; 0 for
 * zeroes and trims, and for the end of the epoch.
 */
export function epochCost(lengthBytes: number): number {
  return LEAST_BYTES + lengthBytes;
}

/** `content`: of those entries that have some, in their order. `checksum` goes into the chain. */
export function encodeRecord(
  head: RecordHead,
  entries: readonly Entry[],
  content: readonly Uint8Array[],
): { readonly buffers: Uint8Array[]; readonly length: number; readonly checksum: number } {
  const bytes = new Uint8Array(headBytes(entries.length));
  const length = entries.reduce((sum, entry) => sum + contentBytes(entry), bytes.length);
  const view = EPOCH_RECORD.at(bytes);
  view.setNumber('magic', RECORD_MAGIC);
  view.setNumber('flags', head.endedMs === null ? 0 : RECORD_FLAGS.endsEpoch);
  view.setBytes('log_id', head.logId);
  view.setBig('position', BigInt(head.position));
  view.setBig('epoch', BigInt(head.epoch));
  view.setBig('durable', BigInt(head.durable));
  view.setBig('length', BigInt(length));
  view.setNumber('entries', entries.length);
  view.setNumber('records', head.records);
  view.setNumber('chain', head.chain);
  view.setBig('ended_ms', BigInt(head.endedMs ?? 0));
  for (const [at, entry] of entries.entries()) putEntry(bytes, at, entry);
  view.setNumber('header_checksum', headerChecksum(bytes));
  const checksum = content.reduce((sum, part) => crc32c(part, sum), crc32c(bytes.subarray(4)));
  view.setNumber('checksum', checksum);
  return { buffers: [bytes, ...content], length, checksum };
}

function putEntry(bytes: Uint8Array, at: number, { offset, length, kind }: Entry): void {
  const view = EPOCH_ENTRY.at(bytes, EPOCH_RECORD.sizeBytes + at * EPOCH_ENTRY.sizeBytes);
  view.setBig('offset', BigInt(offset));
  view.setBig('length', BigInt(length));
  view.setNumber('kind', ENTRY_KINDS[kind]);
}

export function contentBytes({ kind, length }: Entry): number {
  return kind === 'data' ? length : 0;
}

/** Of the first sector; null: no good record of this log begins there. */
export function decodeHead(sector: Uint8Array, logId: Uint8Array): ReadHead | null {
  const view = EPOCH_RECORD.at(sector);
  if (view.number('magic') !== RECORD_MAGIC || !sameBytes(view.bytes('log_id'), logId)) return null;
  if (view.number('header_checksum') !== headerChecksum(sector)) return null;
  const fields = ['position', 'epoch', 'durable', 'length', 'ended_ms'] as const;
  const numbers = fields.map((field) => countable(view.big(field)));
  if (numbers.includes(null)) return null;
  const [position, epoch, durable, length, endedMs] = numbers as [number, number, number, number, number];
  const entries = view.number('entries');
  if (length % SECTOR_BYTES !== 0 || length < headBytes(entries)) return null;
  const isEnd = (view.number('flags') & RECORD_FLAGS.endsEpoch) !== 0;
  const [records, chain] = [view.number('records'), view.number('chain')];
  const id = view.bytes('log_id').slice();
  return {
    logId: id,
    position,
    epoch,
    durable,
    length,
    entries,
    records,
    chain,
    endedMs: isEnd ? endedMs : null,
  };
}

/** Of a whole record; null: it is not whole, or says what no record says. */
export function decodeRecord(
  bytes: Uint8Array,
  head: ReadHead,
): { readonly entries: readonly Entry[]; readonly checksum: number } | null {
  const checksum = crc32c(bytes.subarray(4));
  if (EPOCH_RECORD.at(bytes).number('checksum') !== checksum) return null;
  const entries: Entry[] = [];
  for (let at = 0; at < head.entries; at++) {
    const view = EPOCH_ENTRY.at(bytes, EPOCH_RECORD.sizeBytes + at * EPOCH_ENTRY.sizeBytes);
    const [offset, length] = [countable(view.big('offset')), countable(view.big('length'))];
    const kind = KINDS.find((each) => ENTRY_KINDS[each] === view.number('kind'));
    if (offset === null || length === null || kind === undefined) return null;
    entries.push({ offset, length, kind });
  }
  const content = entries.reduce((sum, entry) => sum + contentBytes(entry), 0);
  return headBytes(entries.length) + content === head.length ? { entries, checksum } : null;
}

/** The chain with one record more. */
export function chained(chain: number, checksum: number): number {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, checksum, true);
  return crc32c(bytes, chain);
}

/** Both checksums stand before what it is of. */
function headerChecksum(bytes: Uint8Array): number {
  return crc32c(bytes.subarray(EPOCH_RECORD.offsetOf('magic'), EPOCH_RECORD.sizeBytes));
}
