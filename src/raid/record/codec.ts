/**
 * Dirty-stripe records from bytes and to bytes. What is decoded has been checked: its checksum, its set, its
 * counts, and that its lists are ascending and apart. Whether it counts is for find.ts to say.
 */
import { crc32c } from '@node-rs/crc32';
import type { Range } from '../../device/range-set.js';
import type { UncheckedBytes } from '../../structure.js';
import { SECTOR_BYTES } from '../md/model.js';
import {
  RECORD_DIRTY,
  RECORD_FLAGS,
  RECORD_HEADER,
  RECORD_IN_DOUBT,
  RECORD_MAGIC,
  RECORD_SUPERBLOCK,
  RECORD_VERSION,
} from './fields.js';

/** What a record says. */
export interface RecordContent {
  readonly generation: bigint;
  /** The newest generation that was durable when it was written; 0n: there was none. */
  readonly follows: bigint;
  readonly isClean: boolean;
  /** Of each slot the superblocks with one of which the record counts. */
  readonly superblocks: readonly SuperblockHash[];
  /** Numbers of stripes, from `start` (included) to `end` (excluded), ascending and apart. */
  readonly dirty: readonly Range[];
  /** Bytes in data, whole sectors, ascending and apart. */
  readonly inDoubt: readonly Range[];
  /** Bits of ro_compat that are not known here: it can be understood, and who writes would break it. Absent: none. */
  readonly unknownRoCompat?: number;
}

/** What the header alone says. */
type RecordHead = Pick<RecordContent, 'generation' | 'follows' | 'unknownRoCompat'>;

export interface SuperblockHash {
  readonly slot: number;
  readonly hash: bigint;
}

/** Something that starts as a record and is no good one. */
export interface DamagedRecord {
  readonly reason: string;
  /** Of a header that is good; null: it is not. */
  readonly header: RecordHead | null;
  /** A later version of holdfast wrote it: who does not understand it must not use the array. */
  readonly isFromLater: boolean;
}

/** Writes are of whole blocks of the filesystem below. */
const BLOCK_BYTES = 4096;
const ENTRY_BYTES = RECORD_SUPERBLOCK.sizeBytes;
export const HEADER_BYTES = RECORD_HEADER.sizeBytes;
const MAX_GENERATION = 2n ** 63n;

/** Bytes of a record with so many entries, of all lists together, as it is written. */
export function recordBytes(entries: number): number {
  return Math.ceil((HEADER_BYTES + entries * ENTRY_BYTES) / BLOCK_BYTES) * BLOCK_BYTES;
}

/** How many entries fit. */
export function entriesIn(bytes: number): number {
  return Math.floor((bytes - HEADER_BYTES) / ENTRY_BYTES);
}

const DIRTY_OFFSETS = [RECORD_DIRTY.offsetOf('stripe'), RECORD_DIRTY.offsetOf('count')] as const;
const IN_DOUBT_OFFSETS = [RECORD_IN_DOUBT.offsetOf('sector'), RECORD_IN_DOUBT.offsetOf('count')] as const;

export function encodeRecord(content: RecordContent, setUuid: Uint8Array): Uint8Array {
  const { superblocks, dirty, inDoubt } = content;
  const entries = superblocks.length + dirty.length + inDoubt.length;
  const length = HEADER_BYTES + entries * ENTRY_BYTES;
  const bytes = new Uint8Array(recordBytes(entries));
  const header = RECORD_HEADER.at(bytes);
  header.setNumber('magic', RECORD_MAGIC);
  header.setNumber('version', RECORD_VERSION);
  header.setBytes('set_uuid', setUuid);
  header.setBig('generation', content.generation);
  header.setBig('follows', content.follows);
  header.setNumber('length', length);
  header.setNumber('flags', content.isClean ? RECORD_FLAGS.clean : 0);
  header.setNumber('superblocks', superblocks.length);
  header.setNumber('dirty', dirty.length);
  header.setNumber('in_doubt', inDoubt.length);
  let at = HEADER_BYTES;
  const next = () => {
    at += ENTRY_BYTES;
    return at - ENTRY_BYTES;
  };
  for (const { slot, hash } of superblocks) {
    const entry = RECORD_SUPERBLOCK.at(bytes, next());
    entry.setNumber('slot', slot);
    entry.setBig('hash', hash);
  }
  const view = new DataView(bytes.buffer);
  for (const { start, end } of dirty) putEntry(view, next(), DIRTY_OFFSETS, start, end - start);
  for (const { start, end } of inDoubt) {
    putEntry(view, next(), IN_DOUBT_OFFSETS, start / SECTOR_BYTES, (end - start) / SECTOR_BYTES);
  }
  header.setNumber('header_checksum', crc32c(bytes.subarray(0, HEADER_BYTES)));
  header.setNumber('checksum', crc32c(bytes.subarray(0, length)));
  return bytes;
}

/** There are many of them, and writes wait for a record: a view of each would take longer than all the rest. */
function putEntry(
  view: DataView,
  at: number,
  [first, second]: readonly [number, number],
  start: number,
  count: number,
): void {
  if (start < 0 || count < 0) throw new RangeError(`an entry of a record cannot hold ${start} and ${count}`);
  view.setBigUint64(at + first, BigInt(start), true);
  view.setBigUint64(at + second, BigInt(count), true);
}

/** null: nothing is there that was ever a record of this set. */
export function decodeRecord(
  { bytes }: UncheckedBytes,
  setUuid: Uint8Array,
): RecordContent | DamagedRecord | null {
  if (bytes.length < HEADER_BYTES) return null;
  const header = RECORD_HEADER.at(bytes);
  if (header.number('magic') !== RECORD_MAGIC) return null;
  if (Buffer.compare(header.bytes('set_uuid'), setUuid) !== 0) return null;
  if (!isHeaderGood(bytes)) return damaged('the checksum of its header is wrong', null);
  const unknownRoCompat = header.number('ro_compat');
  const known: RecordHead = {
    generation: header.big('generation'),
    follows: header.big('follows'),
    ...(unknownRoCompat === 0 ? {} : { unknownRoCompat }),
  };
  const version = header.number('version');
  if (version !== RECORD_VERSION)
    return { ...damaged(`it is of version ${version}`, known), isFromLater: true };
  const incompat = header.number('incompat');
  if (incompat !== 0) {
    const reason = `it has features that are not known here: incompat ${describeBits(incompat)}`;
    return { ...damaged(reason, known), isFromLater: true };
  }
  // They rise by one: no array comes so far. One that did would leave no number for those after it.
  if (known.generation > MAX_GENERATION || known.follows >= known.generation)
    return damaged(`its generation ${known.generation} cannot follow ${known.follows}`, null);
  const length = header.number('length');
  const counts = [header.number('superblocks'), header.number('dirty'), header.number('in_doubt')] as const;
  const entries = counts[0] + counts[1] + counts[2];
  if (length !== HEADER_BYTES + entries * ENTRY_BYTES || length > bytes.length) {
    return damaged(`its length of ${length} bytes does not fit its ${entries} entries`, known);
  }
  if (!isChecksumGood(bytes, length))
    return damaged('its checksum is wrong: it was cut short, or has rotted', known);
  return decodeLists(bytes, counts, {
    ...known,
    isClean: (header.number('flags') & RECORD_FLAGS.clean) !== 0,
  });
}

function decodeLists(
  bytes: Uint8Array,
  [superblocks, dirty, inDoubt]: readonly [number, number, number],
  head: RecordHead & Pick<RecordContent, 'isClean'>,
): RecordContent | DamagedRecord {
  let at = HEADER_BYTES;
  const offsets = (count: number) => Array.from({ length: count }, (_, i) => at + i * ENTRY_BYTES);
  const hashes = offsets(superblocks).map((offset) => {
    const entry = RECORD_SUPERBLOCK.at(bytes, offset);
    return { slot: entry.number('slot'), hash: entry.big('hash') };
  });
  at += superblocks * ENTRY_BYTES;
  const stripes = offsets(dirty).map((offset) => {
    const entry = RECORD_DIRTY.at(bytes, offset);
    return range(entry.big('stripe'), entry.big('count'), 1);
  });
  at += dirty * ENTRY_BYTES;
  const sectors = offsets(inDoubt).map((offset) => {
    const entry = RECORD_IN_DOUBT.at(bytes, offset);
    return range(entry.big('sector'), entry.big('count'), SECTOR_BYTES);
  });
  if (!isAscending(stripes) || !isAscending(sectors)) return damaged('its lists are not in order', head);
  if (head.isClean && stripes.length > 0) return damaged('it says clean and lists dirty stripes', head);
  return { ...head, superblocks: hashes, dirty: stripes, inDoubt: sectors };
}

/** What no number here can hold is out of any array; it becomes a range that no check lets through. */
function range(start: bigint, count: bigint, unit: number): Range {
  const end = start + count;
  if (end * BigInt(unit) > BigInt(Number.MAX_SAFE_INTEGER)) return { start: 1, end: 0 };
  return { start: Number(start) * unit, end: Number(end) * unit };
}

function isAscending(ranges: readonly Range[]): boolean {
  return ranges.every(
    ({ start, end }, index) => start < end && (index === 0 || ranges[index - 1]!.end < start),
  );
}

function isHeaderGood(bytes: Uint8Array): boolean {
  const header = bytes.slice(0, HEADER_BYTES);
  const view = RECORD_HEADER.at(header);
  const stored = view.number('header_checksum');
  view.setNumber('header_checksum', 0);
  view.setNumber('checksum', 0);
  return crc32c(header) === stored;
}

function isChecksumGood(bytes: Uint8Array, length: number): boolean {
  const whole = bytes.slice(0, length);
  const view = RECORD_HEADER.at(whole);
  const stored = view.number('checksum');
  view.setNumber('checksum', 0);
  return crc32c(whole) === stored;
}

function damaged(
  reason: string,
  header: (RecordHead & Partial<Pick<RecordContent, 'isClean'>>) | null,
): DamagedRecord {
  if (header === null) return { reason, header, isFromLater: false };
  const { isClean: _, ...known } = header;
  return { reason, header: known, isFromLater: false };
}

/** `bit 3 (0x8)`, `bits 0 and 31 (0x80000001)`: as people look for them in the description of a format. */
export function describeBits(mask: number): string {
  const bits = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => ((mask >>> bit) & 1) === 1);
  const last = bits.at(-1);
  const names = bits.length > 1 ? `bits ${bits.slice(0, -1).join(', ')} and ${last}` : `bit ${last}`;
  return `${names} (0x${(mask >>> 0).toString(16)})`;
}

export function isDamagedRecord(found: RecordContent | DamagedRecord): found is DamagedRecord {
  return 'reason' in found;
}
