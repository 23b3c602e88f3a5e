/**
 * Entries and header of an undo file, from bytes and to bytes. What is decoded has been checked; what cannot be
 * believed is null.
 */
import { createHash } from 'node:crypto';
import { crc32c } from '@node-rs/crc32';
import { SECTOR_BYTES } from '../../raid/md/model.js';
import { formatUuid, parseUuid } from '../../raid/md/uuid.js';
import {
  ENTRY_KINDS,
  ENTRY_MAGIC,
  NO_SUPERBLOCK,
  UNDO_ENTRY,
  UNDO_HEADER,
  UNDO_IMAGE,
  UNDO_MAGIC,
  UNDO_STATE,
  UNDO_VERSION,
} from './fields-undo.js';

export const MAX_PAYLOAD_BYTES = 1024 * 1024;
const NO_UUID = new Uint8Array(16);

export type EntryKind = keyof typeof ENTRY_KINDS;

export interface UndoHeader {
  /** As md shows it. */
  readonly volumeUuid: string;
  readonly fileId: bigint;
  /** Seconds since 1970. */
  readonly created: number;
}

/** What was known of an image when the first byte of it was about to be overwritten. */
export interface UndoImageFacts {
  readonly path: string;
  /** '' where it has none. */
  readonly deviceUuid: string;
  readonly sizeBytes: number;
  /** null: it has no superblock. */
  readonly superOffset: number | null;
  readonly dataOffset: number;
  readonly dataBytes: number;
  /** Of the superblock's first sector, in hexadecimal digits. */
  readonly superblockHash: string;
}

export interface EntryHead {
  readonly kind: EntryKind;
  readonly sequence: bigint;
  readonly committed: number;
  readonly image: number;
  readonly payloadBytes: number;
  readonly offset: number;
  readonly length: number;
  readonly payloadChecksum: number;
}

export type EntryDraft = Pick<EntryHead, 'kind' | 'image' | 'offset' | 'length'> & {
  readonly payload: Uint8Array;
};

/** Of the first sector of a superblock: it has the events, the time and the checksum of all the rest. */
export function hashOf(sector: Uint8Array): string {
  return createHash('sha256').update(sector).digest('hex');
}

export function encodeHeader({ volumeUuid, fileId, created }: UndoHeader): Uint8Array {
  const raw = new Uint8Array(UNDO_HEADER.sizeBytes);
  const view = UNDO_HEADER.at(raw);
  view.setBytes('magic', UNDO_MAGIC);
  view.setNumber('version', UNDO_VERSION);
  view.setBytes('volume_uuid', parseUuid(volumeUuid) ?? NO_UUID);
  view.setBig('file_id', fileId);
  view.setBig('created', BigInt(created));
  view.setNumber('checksum', crc32c(raw.subarray(0, UNDO_HEADER.offsetOf('checksum'))));
  return raw;
}

/** Or why it is none that can be used. */
export function decodeHeader(raw: Uint8Array): UndoHeader | string {
  if (raw.byteLength < UNDO_HEADER.sizeBytes) return 'it is too short to be an undo file';
  const view = UNDO_HEADER.at(raw);
  if (Buffer.compare(view.bytes('magic'), UNDO_MAGIC) !== 0) return 'it is no undo file';
  const sum = crc32c(raw.subarray(0, UNDO_HEADER.offsetOf('checksum')));
  if (view.number('checksum') !== sum) return 'its header is damaged: the checksum is wrong';
  if (view.number('version') !== UNDO_VERSION)
    return `it is of version ${view.number('version')}, which is not known here`;
  const incompat = view.number('incompat');
  if (incompat !== 0) return `it uses features that are not known here (bits 0x${incompat.toString(16)})`;
  return {
    volumeUuid: formatUuid(view.bytes('volume_uuid')),
    fileId: view.big('file_id'),
    created: Number(view.big('created')),
  };
}

/** Bytes that an entry with so much payload takes in the file. */
export function entryBytes(payloadBytes: number): number {
  return Math.ceil((UNDO_ENTRY.sizeBytes + payloadBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

export function encodeEntry(
  draft: EntryDraft,
  at: { fileId: bigint; sequence: bigint; committed: number },
): Uint8Array {
  const raw = new Uint8Array(entryBytes(draft.payload.byteLength));
  const view = UNDO_ENTRY.at(raw);
  view.setNumber('magic', ENTRY_MAGIC);
  view.setNumber('kind', ENTRY_KINDS[draft.kind]);
  view.setBig('file_id', at.fileId);
  view.setBig('sequence', at.sequence);
  view.setBig('committed', BigInt(at.committed));
  view.setNumber('image', draft.image);
  view.setNumber('payload_bytes', draft.payload.byteLength);
  view.setBig('offset', BigInt(draft.offset));
  view.setBig('length', BigInt(draft.length));
  view.setNumber('payload_checksum', crc32c(draft.payload));
  view.setNumber('checksum', crc32c(raw.subarray(0, UNDO_ENTRY.offsetOf('checksum'))));
  raw.set(draft.payload, UNDO_ENTRY.sizeBytes);
  return raw;
}

/** null: no entry of this file begins there. What follows it has not been checked. */
export function decodeEntry(raw: Uint8Array, fileId: bigint): EntryHead | null {
  if (raw.byteLength < UNDO_ENTRY.sizeBytes) return null;
  const view = UNDO_ENTRY.at(raw);
  const sum = crc32c(raw.subarray(0, UNDO_ENTRY.offsetOf('checksum')));
  if (view.number('magic') !== ENTRY_MAGIC || view.number('checksum') !== sum) return null;
  if (view.big('file_id') !== fileId) return null;
  const number = view.number('kind');
  const kind = (Object.keys(ENTRY_KINDS) as EntryKind[]).find((name) => ENTRY_KINDS[name] === number);
  const payloadBytes = view.number('payload_bytes');
  const large = [view.big('offset'), view.big('length'), view.big('committed')];
  if (kind === undefined || payloadBytes > MAX_PAYLOAD_BYTES) return null;
  if (large.some((value) => value > BigInt(Number.MAX_SAFE_INTEGER))) return null;
  return {
    kind,
    sequence: view.big('sequence'),
    committed: Number(view.big('committed')),
    image: view.number('image'),
    payloadBytes,
    offset: Number(view.big('offset')),
    length: Number(view.big('length')),
    payloadChecksum: view.number('payload_checksum'),
  };
}

export function encodeImage(facts: UndoImageFacts): Uint8Array {
  const path = new TextEncoder().encode(facts.path);
  const raw = new Uint8Array(UNDO_IMAGE.sizeBytes + path.byteLength);
  const view = UNDO_IMAGE.at(raw);
  view.setBytes('device_uuid', parseUuid(facts.deviceUuid) ?? NO_UUID);
  view.setBig('size', BigInt(facts.sizeBytes));
  view.setBig('super_offset', facts.superOffset === null ? NO_SUPERBLOCK : BigInt(facts.superOffset));
  view.setBig('data_offset', BigInt(facts.dataOffset));
  view.setBig('data_bytes', BigInt(facts.dataBytes));
  view.setBytes('superblock_hash', Buffer.from(facts.superblockHash, 'hex'));
  raw.set(path, UNDO_IMAGE.sizeBytes);
  return raw;
}

/** null: its numbers cannot be those of an image. */
export function decodeImage(payload: Uint8Array): UndoImageFacts | null {
  if (payload.byteLength < UNDO_IMAGE.sizeBytes) return null;
  const view = UNDO_IMAGE.at(payload);
  const superOffset = view.big('super_offset');
  const numbers = [view.big('size'), view.big('data_offset'), view.big('data_bytes')].map(Number);
  const [sizeBytes = 0, dataOffset = 0, dataBytes = 0] = numbers;
  if (numbers.some((value) => !Number.isSafeInteger(value))) return null;
  if (superOffset !== NO_SUPERBLOCK && superOffset + BigInt(SECTOR_BYTES) > BigInt(sizeBytes)) return null;
  const uuid = view.bytes('device_uuid');
  return {
    path: new TextDecoder().decode(payload.subarray(UNDO_IMAGE.sizeBytes)),
    deviceUuid: uuid.every((byte) => byte === 0) ? '' : formatUuid(uuid),
    sizeBytes,
    superOffset: superOffset === NO_SUPERBLOCK ? null : Number(superOffset),
    dataOffset,
    dataBytes,
    superblockHash: Buffer.from(view.bytes('superblock_hash')).toString('hex'),
  };
}

export function encodeState(superblockHash: string): Uint8Array {
  const raw = new Uint8Array(UNDO_STATE.sizeBytes);
  UNDO_STATE.at(raw).setBytes('superblock_hash', Buffer.from(superblockHash, 'hex'));
  return raw;
}

export function decodeState(payload: Uint8Array): string | null {
  if (payload.byteLength !== UNDO_STATE.sizeBytes) return null;
  return Buffer.from(UNDO_STATE.at(payload).bytes('superblock_hash')).toString('hex');
}
