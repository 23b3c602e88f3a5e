/**
 * Sectors of the transaction log from bytes and to bytes. What is decoded has a good checksum, is of this log, lies where
 * its number belongs, and says nothing that cannot be.
 */
import { crc32c } from '@node-rs/crc32';
import type { UncheckedBytes } from '../../structure.js';
import type { BlockRange } from '../blocks.js';
import { SECTOR_BYTES } from '../file-header.js';
import { ENTRY_KINDS, LOG_ENTRY, LOG_SECTOR, LOG_SECTOR_MAGIC } from './fields.js';

/** `range`: blocks that the transaction lists. `done`: transactions, by their numbers. */
export interface LogEntry extends BlockRange {
  readonly kind: 'range' | 'done';
}

export interface LogSector {
  readonly number: number;
  readonly start: number;
  readonly begins: number;
  readonly entries: readonly LogEntry[];
}

/** Which log, and how long it is. */
export interface LogShape {
  readonly id: bigint;
  readonly sectors: number;
}

const ENTRY_BYTES = LOG_ENTRY.sizeBytes;
const ENTRIES_OFFSET = LOG_SECTOR.offsetOf('entries');
export const ENTRIES_PER_SECTOR = (SECTOR_BYTES - ENTRIES_OFFSET) / ENTRY_BYTES;
const CHECKED_FROM = LOG_SECTOR.offsetOf('magic');
const FIRST = LOG_ENTRY.offsetOf('first');
const FIRST_HIGH = LOG_ENTRY.offsetOf('first_high');
const COUNT_KIND = LOG_ENTRY.offsetOf('count_kind');
const COUNT_BITS = 14;
const MOST_COUNT = 2 ** COUNT_BITS;
/** Of blocks, and of sectors: nobody comes so far. */
const NUMBERS_END = 2 ** 48;

/** Ranges as entries: long ones in several. */
export function* entriesOf(kind: LogEntry['kind'], ranges: Iterable<BlockRange>): Generator<LogEntry> {
  for (const { from, count } of ranges) {
    if (!(Number.isSafeInteger(from) && Number.isSafeInteger(count)) || from < 0 || count < 0)
      throw new RangeError(`a log cannot list ${count} from ${from} on`);
    if (from + count > NUMBERS_END) throw new RangeError(`a log cannot list what lies at ${from + count}`);
    for (let at = 0; at < count; at += MOST_COUNT) {
      yield { kind, from: from + at, count: Math.min(MOST_COUNT, count - at) };
    }
  }
}

/** Into the sector that begins at `at` in `bytes`, which are zero there. */
export function encodeSector(bytes: Uint8Array, at: number, id: bigint, sector: LogSector): void {
  const view = LOG_SECTOR.at(bytes, at);
  view.setNumber('magic', LOG_SECTOR_MAGIC);
  view.setBig('id', id);
  view.setBig('number', BigInt(sector.number));
  view.setBig('start', BigInt(sector.start));
  view.setBig('begins', BigInt(sector.begins));
  if (sector.entries.length > ENTRIES_PER_SECTOR) throw new RangeError('too many entries for a sector');
  const data = new DataView(bytes.buffer, bytes.byteOffset + at + ENTRIES_OFFSET);
  for (const [index, { kind, from, count }] of sector.entries.entries()) {
    const entryAt = index * ENTRY_BYTES;
    data.setUint32(entryAt + FIRST, from % 2 ** 32, true);
    data.setUint16(entryAt + FIRST_HIGH, Math.floor(from / 2 ** 32), true);
    data.setUint16(entryAt + COUNT_KIND, (ENTRY_KINDS[kind] << COUNT_BITS) | (count - 1), true);
  }
  view.setNumber('checksum', crc32c(bytes.subarray(at + CHECKED_FROM, at + SECTOR_BYTES)));
}

/** `place`: which sector of the log the bytes are. */
export function decodeSector(
  { bytes }: UncheckedBytes,
  place: number,
  { id, sectors }: LogShape,
): LogSector | { readonly bad: string } {
  const view = LOG_SECTOR.at(bytes);
  if (view.number('magic') !== LOG_SECTOR_MAGIC) return { bad: 'there is none' };
  if (view.number('checksum') !== crc32c(bytes.subarray(CHECKED_FROM, SECTOR_BYTES)))
    return { bad: 'its checksum is wrong' };
  if (view.big('id') !== id) return { bad: 'it is of a former log' };
  const [number, start, begins] = (['number', 'start', 'begins'] as const).map((name) =>
    Number(view.big(name)),
  ) as [number, number, number];
  if (number < 1 || number >= NUMBERS_END || (number - 1) % sectors !== place)
    return { bad: `number ${number} does not belong there` };
  if (start < 1 || start > begins || begins > number || number - start >= sectors)
    return { bad: `a log from ${start} on, written from ${begins} to ${number}, cannot be` };
  const entries = decodeEntries(bytes);
  return entries === null ? { bad: 'it has entries of no kind' } : { number, start, begins, entries };
}

function decodeEntries(bytes: Uint8Array): LogEntry[] | null {
  const data = new DataView(bytes.buffer, bytes.byteOffset + ENTRIES_OFFSET);
  const entries: LogEntry[] = [];
  for (let at = 0; at < ENTRIES_PER_SECTOR * ENTRY_BYTES; at += ENTRY_BYTES) {
    const word = data.getUint16(at + COUNT_KIND, true);
    const kind = word >> COUNT_BITS;
    if (kind === ENTRY_KINDS.none) break;
    if (kind !== ENTRY_KINDS.range && kind !== ENTRY_KINDS.done) return null;
    entries.push({
      kind: kind === ENTRY_KINDS.range ? 'range' : 'done',
      from: data.getUint32(at + FIRST, true) + data.getUint16(at + FIRST_HIGH, true) * 2 ** 32,
      count: (word % MOST_COUNT) + 1,
    });
  }
  return entries;
}

/** Where a sector lies among those of the log. */
export function placeOf(number: number, { sectors }: Pick<LogShape, 'sectors'>): number {
  return (number - 1) % sectors;
}
