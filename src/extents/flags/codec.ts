/**
 * Kept flags from bytes and to bytes: a header, and after it the content, files one after another, each with its extents and
 * their two bitmaps. What is decoded has good checksums, is of this volume and client, and says nothing that cannot be.
 */
import { createHash } from 'node:crypto';
import { crc32c } from '@node-rs/crc32';
import { UserError } from '../../errors.js';
import { allBits, bitmapBytes, isEmpty, meet, union, without } from '../../metadata/bits.js';
import type { FlagPlace } from '../../metadata/flag-places.js';
import type { UncheckedBytes } from '../../structure.js';
import type { KeptExtent, KeptRecord } from './contract.js';
import { KEPT_EXTENT, KEPT_FILE, KEPT_FLAGS, KEPT_MAGIC, KEPT_VERSION, PLACE_CODES } from './fields.js';

export const HEADER_BYTES = KEPT_FLAGS.sizeBytes;

/** Whose flags they are. */
export interface Owner {
  readonly place: Exclude<FlagPlace, 'metadata'>;
  /** 32 hexadecimal digits. */
  readonly volumeUuid: string;
  readonly client: string;
  readonly blocksPerExtent: number;
}

export interface KeptHeader {
  readonly sequence: number;
  /** Slot or extent. */
  readonly liesIn: number;
  readonly part: number;
  readonly parts: number;
  readonly contentBytes: number;
  readonly contentChecksum: number;
}

export type DecodedHeader =
  | { readonly good: KeptHeader }
  | { readonly bad: string }
  /** A later holdfast wrote it: it is not for this one to judge. */
  | { readonly later: string };

/** `what`: the flags of which they are. */
export function fromLater(
  what: string,
  later: string,
  details: Readonly<Record<string, unknown>>,
): UserError {
  return new UserError('UNSUPPORTED', `${what} are of a later holdfast: ${later}`, {
    hint: 'Use the holdfast that wrote them.',
    details,
  });
}

export interface NumberedRecord {
  readonly number: number;
  readonly record: KeptRecord;
}

const CHECKSUM_AT = KEPT_FLAGS.offsetOf('checksum');

/** A header, with the content behind it. */
export function encodeKept(
  owner: Owner,
  { sequence, liesIn, part, parts }: Omit<KeptHeader, 'contentBytes' | 'contentChecksum'>,
  content: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + content.byteLength);
  const view = KEPT_FLAGS.at(bytes);
  view.setBytes('magic', KEPT_MAGIC);
  view.setNumber('version', KEPT_VERSION);
  view.setNumber('place', PLACE_CODES[owner.place]);
  view.setBytes('volume_uuid', uuidOf(owner));
  view.setBytes('client', clientOf(owner));
  view.setBig('sequence', BigInt(sequence));
  view.setBig('lies_in', BigInt(liesIn));
  view.setNumber('part', part);
  view.setNumber('parts', parts);
  view.setBig('content_bytes', BigInt(content.byteLength));
  view.setNumber('content_checksum', crc32c(content));
  view.setNumber('blocks_per_extent', owner.blocksPerExtent);
  view.setNumber('checksum', crc32c(bytes.subarray(0, CHECKSUM_AT)));
  bytes.set(content, HEADER_BYTES);
  return bytes;
}

export function decodeHeader({ bytes }: UncheckedBytes, owner: Owner, liesIn: number): DecodedHeader {
  const view = KEPT_FLAGS.at(bytes);
  if (Buffer.compare(view.bytes('magic'), KEPT_MAGIC) !== 0) return { bad: 'there are none' };
  if (view.number('checksum') !== crc32c(bytes.subarray(0, CHECKSUM_AT)))
    return { bad: 'their checksum is wrong' };
  const version = view.number('version');
  if (version !== KEPT_VERSION) return { later: `version ${version}` };
  if (Buffer.compare(view.bytes('volume_uuid'), uuidOf(owner)) !== 0)
    return { bad: 'they are of another volume' };
  if (Buffer.compare(view.bytes('client'), clientOf(owner)) !== 0)
    return { bad: 'they are of another client' };
  const header = {
    sequence: Number(view.big('sequence')),
    liesIn: Number(view.big('lies_in')),
    part: view.number('part'),
    parts: view.number('parts'),
    contentBytes: Number(view.big('content_bytes')),
    contentChecksum: view.number('content_checksum'),
  };
  const isElsewhere = view.number('place') !== PLACE_CODES[owner.place] || header.liesIn !== liesIn;
  if (isElsewhere) return { bad: 'they were copied there from elsewhere' };
  if (view.number('blocks_per_extent') !== owner.blocksPerExtent)
    return { bad: 'they are of extents of another size' };
  const isSafe = Number.isSafeInteger(header.sequence) && Number.isSafeInteger(header.contentBytes);
  return isSafe && header.part < header.parts ? { good: header } : { bad: 'a number is out of all bounds' };
}

export function encodeRecords(records: readonly NumberedRecord[], blocksPerExtent: number): Uint8Array {
  const bits = bitmapBytes(blocksPerExtent);
  const ofExtent = KEPT_EXTENT.sizeBytes + 2 * bits;
  const count = records.reduce((sum, { record }) => sum + record.extents.length, 0);
  const bytes = new Uint8Array(records.length * KEPT_FILE.sizeBytes + count * ofExtent);
  let at = 0;
  for (const { number, record } of records) {
    const file = KEPT_FILE.at(bytes, at);
    file.setBig('number', BigInt(number));
    file.setBig('file', BigInt(record.file));
    file.setBig('size', BigInt(record.sizeBytes));
    file.setBig('extents', BigInt(record.extents.length));
    at += KEPT_FILE.sizeBytes;
    for (const { index, journal, marked, cleared } of record.extents) {
      const extent = KEPT_EXTENT.at(bytes, at);
      extent.setBig('index', BigInt(index));
      extent.setBig('journal', BigInt(journal));
      bytes.set(marked, at + KEPT_EXTENT.sizeBytes);
      bytes.set(cleared, at + KEPT_EXTENT.sizeBytes + bits);
      at += ofExtent;
    }
  }
  return bytes;
}

/** null: they cannot be. `bytes` have the checksum that their header has. */
export function decodeRecords({ bytes }: UncheckedBytes, blocksPerExtent: number): NumberedRecord[] | null {
  const ofExtent = KEPT_EXTENT.sizeBytes + 2 * bitmapBytes(blocksPerExtent);
  const records: NumberedRecord[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    if (at + KEPT_FILE.sizeBytes > bytes.byteLength) return null;
    const view = KEPT_FILE.at(bytes, at);
    at += KEPT_FILE.sizeBytes;
    const [number, file, sizeBytes, count] = (['number', 'file', 'size', 'extents'] as const).map((name) =>
      Number(view.big(name)),
    ) as [number, number, number, number];
    const isSafe = [number, file, sizeBytes, count].every(Number.isSafeInteger);
    if (!isSafe || count * ofExtent > bytes.byteLength - at) return null;
    const extents: KeptExtent[] = [];
    for (let n = 0; n < count; n++, at += ofExtent) {
      const extent = extentOf(bytes.subarray(at, at + ofExtent), file, blocksPerExtent);
      if (extent === null) return null;
      extents.push(extent);
    }
    records.push({ number, record: { file, sizeBytes, extents } });
  }
  return records;
}

function extentOf(bytes: Uint8Array, file: number, blocks: number): KeptExtent | null {
  const view = KEPT_EXTENT.at(bytes);
  const bits = bitmapBytes(blocks);
  const [index, journal] = [Number(view.big('index')), Number(view.big('journal'))];
  const marked = bytes.slice(KEPT_EXTENT.sizeBytes, KEPT_EXTENT.sizeBytes + bits);
  const cleared = bytes.slice(KEPT_EXTENT.sizeBytes + bits);
  const isSafe = Number.isSafeInteger(index) && Number.isSafeInteger(journal);
  // No bit is past the last block.
  const isWithin = isEmpty(without(union(marked, cleared), allBits(blocks)));
  return isSafe && isWithin && !meet(marked, cleared) ? { file, index, journal, marked, cleared } : null;
}

function uuidOf({ volumeUuid }: Owner): Uint8Array {
  return new Uint8Array(Buffer.from(volumeUuid, 'hex'));
}

function clientOf({ client }: Owner): Uint8Array {
  return new Uint8Array(createHash('sha256').update(client).digest().subarray(0, 16));
}
