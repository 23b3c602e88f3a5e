/**
 * What a log store's disk holds: a superblock in its first block, which says where the log begins, and segments, through which the log goes
 * round and round. Read as a whole: such a disk is small.
 *
 * Invariant: each record's checksum goes on from that of the record before it. So what an older round, or a write that a power cut took in
 * part, has left behind the end of the log is never taken for its continuation.
 */
import { crc32c } from '@node-rs/crc32';
import { Structure } from '../../structure.js';

export const SECTOR_BYTES = 512;
export const SEGMENT_BYTES = 8 * SECTOR_BYTES;
/** The superblock has a whole block, so that no disk tears it with anything else. */
const FIRST_SEGMENT = 4096;
const SUPERBLOCK_MAGIC = 0x53_4c_46_48;
const RECORD_MAGIC = 0x52_4c_46_48;

const SUPERBLOCK = new Structure({
  name: 'superblock of a log store',
  sizeBytes: 20,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: 'HFLS' },
    { name: 'checksum', offset: 4, type: 'u32', why: 'CRC-32C of what follows' },
    { name: 'tail', offset: 8, type: 'u32', why: 'the segment in which the log begins' },
    { name: 'sequence', offset: 12, type: 'u32', why: 'of the first record there' },
    { name: 'chain', offset: 16, type: 'u32', why: 'checksum of the record before that one' },
  ] as const,
});

const RECORD = new Structure({
  name: 'record of a log store',
  sizeBytes: 16,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: 'HFLR' },
    {
      name: 'checksum',
      offset: 4,
      type: 'u32',
      why: 'CRC-32C of what follows, begun with that of the record before',
    },
    { name: 'sequence', offset: 8, type: 'u32', why: 'one more than that of the record before' },
    { name: 'length', offset: 12, type: 'u32', why: 'of the text behind it, in bytes' },
  ] as const,
});

/** Where the log begins, and with what. */
export interface LogStart {
  readonly segment: number;
  readonly sequence: number;
  readonly chain: number;
}

export interface LogRecord {
  readonly key: string;
  readonly value: string;
  readonly segment: number;
  readonly sectors: number;
}

/** All that counts of a disk. */
export interface FoundLog {
  readonly tail: LogStart;
  /** From the tail on, in order. */
  readonly records: readonly LogRecord[];
  /** Of each segment of the log, from the tail to the head. */
  readonly starts: readonly LogStart[];
  /** Of the head: where the next record goes, if there is room for it. */
  readonly usedBytes: number;
  readonly next: { readonly sequence: number; readonly chain: number };
}

export const EMPTY_LOG: FoundLog = {
  tail: { segment: 0, sequence: 1, chain: 0 },
  records: [],
  starts: [{ segment: 0, sequence: 1, chain: 0 }],
  usedBytes: 0,
  next: { sequence: 1, chain: 0 },
};

export function segmentsOf(diskBytes: number): number {
  return Math.floor((diskBytes - FIRST_SEGMENT) / SEGMENT_BYTES);
}

export function placeOf(segment: number): number {
  return FIRST_SEGMENT + segment * SEGMENT_BYTES;
}

/** One sector, at the start of the disk. */
export function encodeSuperblock({ segment, sequence, chain }: LogStart): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = SUPERBLOCK.at(bytes);
  view.setNumber('magic', SUPERBLOCK_MAGIC);
  view.setNumber('tail', segment);
  view.setNumber('sequence', sequence);
  view.setNumber('chain', chain);
  view.setNumber('checksum', crc32c(bytes.subarray(8, SUPERBLOCK.sizeBytes)));
  return bytes;
}

/** Whole sectors, and the checksum with which the next one goes on. */
export function encodeRecord(
  key: string,
  value: string,
  { sequence, chain }: FoundLog['next'],
): { readonly bytes: Uint8Array; readonly checksum: number } {
  const text = Buffer.from(`${key}=${value}`);
  const length = RECORD.sizeBytes + text.length;
  const bytes = new Uint8Array(Math.ceil(length / SECTOR_BYTES) * SECTOR_BYTES);
  const view = RECORD.at(bytes);
  view.setNumber('magic', RECORD_MAGIC);
  view.setNumber('sequence', sequence);
  view.setNumber('length', text.length);
  bytes.set(text, RECORD.sizeBytes);
  const checksum = crc32c(bytes.subarray(8, length), chain);
  view.setNumber('checksum', checksum);
  return { bytes, checksum };
}

/** What counts of a disk, whatever it holds; a disk without a superblock is an empty store. */
export function readLog(disk: Uint8Array): FoundLog {
  const tail = decodeSuperblock(disk);
  if (tail === null) return EMPTY_LOG;
  const segments = segmentsOf(disk.length);
  const records: LogRecord[] = [];
  const starts = [tail];
  const next = { sequence: tail.sequence, chain: tail.chain };
  let { segment } = tail;
  let usedBytes = 0;
  for (;;) {
    const found = decodeRecord(disk, segment, usedBytes, next);
    if (found !== null) {
      records.push(found);
      usedBytes += found.sectors * SECTOR_BYTES;
      next.sequence += 1;
      next.chain = found.checksum;
      continue;
    }
    // Where a record had no room it is the first of the next segment.
    const other = (segment + 1) % segments;
    if (usedBytes === 0 || other === tail.segment || decodeRecord(disk, other, 0, next) === null) break;
    segment = other;
    usedBytes = 0;
    starts.push({ segment, ...next });
  }
  return { tail, records, starts, usedBytes, next };
}

function decodeSuperblock(disk: Uint8Array): LogStart | null {
  const view = SUPERBLOCK.at(disk);
  if (view.number('magic') !== SUPERBLOCK_MAGIC) return null;
  if (view.number('checksum') !== crc32c(disk.subarray(8, SUPERBLOCK.sizeBytes))) return null;
  return { segment: view.number('tail'), sequence: view.number('sequence'), chain: view.number('chain') };
}

function decodeRecord(
  disk: Uint8Array,
  segment: number,
  usedBytes: number,
  { sequence, chain }: FoundLog['next'],
): (LogRecord & { readonly checksum: number }) | null {
  const room = SEGMENT_BYTES - usedBytes;
  if (room < SECTOR_BYTES) return null;
  const bytes = disk.subarray(placeOf(segment) + usedBytes, placeOf(segment) + SEGMENT_BYTES);
  const view = RECORD.at(bytes);
  const length = RECORD.sizeBytes + view.number('length');
  if (view.number('magic') !== RECORD_MAGIC || view.number('sequence') !== sequence || length > room)
    return null;
  const checksum = crc32c(bytes.subarray(8, length), chain);
  if (view.number('checksum') !== checksum) return null;
  const text = Buffer.from(bytes.subarray(RECORD.sizeBytes, length)).toString();
  const [key = ''] = text.split('=', 1);
  return {
    key,
    value: text.slice(key.length + 1),
    segment,
    sectors: Math.ceil(length / SECTOR_BYTES),
    checksum,
  };
}
