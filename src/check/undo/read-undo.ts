/**
 * Reads an undo file: which entries of it are whole, and whether what is not is a tail that a crash tore or damage.
 *
 * - The entries up to the first that is not whole count. What follows a torn one had not been overwritten: entries
 *   become durable in order, and an overwrite waits for its own.
 * - Damage in what had been durable is told from a torn tail by a later entry that says so: then what was
 *   overwritten is known in part only, and to put that part back would make a mix of two states.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { crc32c } from '@node-rs/crc32';
import { fileError } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import { SECTOR_BYTES } from '../../raid/md/model.js';
import { UNDO_ENTRY, UNDO_HEADER } from './fields-undo.js';
import {
  decodeEntry,
  decodeHeader,
  decodeImage,
  decodeState,
  type EntryHead,
  entryBytes,
  type UndoHeader,
  type UndoImageFacts,
} from './undo-entries.js';

/** A stretch of an image as it was. */
export interface KeptStretch {
  readonly image: number;
  readonly offset: number;
  readonly length: number;
  /** Where its content lies in the undo file; null: it was all zeroes. */
  readonly payloadAt: number | null;
}

export interface KeptImage {
  readonly facts: UndoImageFacts;
  /** What the first sector of its superblock may have come to by the repair, and what it was. */
  readonly hashes: ReadonlySet<string>;
}

export interface UndoContent {
  readonly path: string;
  readonly header: UndoHeader;
  readonly images: readonly KeptImage[];
  /** In the order in which they were kept. */
  readonly stretches: readonly KeptStretch[];
  /** There is something behind the last whole entry. */
  readonly isTorn: boolean;
  /** Byte at which an entry that had been durable is damaged; null: none is. */
  readonly damagedAt: number | null;
}

/** Throws REFUSED for what is no undo file, and what the file cannot be read for. */
export async function readUndo(path: string): Promise<UndoContent> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw fileError(path, 'read', error);
  });
  try {
    return await readContent(path, handle);
  } catch (error) {
    throw fileError(path, 'read', error);
  } finally {
    await handle.close();
  }
}

async function readContent(path: string, handle: FileHandle): Promise<UndoContent> {
  const { size } = await handle.stat();
  const header = decodeHeader(await bytesAt(handle, 0, Math.min(size, UNDO_HEADER.sizeBytes)));
  if (typeof header === 'string') {
    throw new UserError('REFUSED', `${path} cannot be put back: ${header}`, {
      hint: 'name the file that was given to fsck with --undo',
      details: { file: path },
    });
  }
  const images: { facts: UndoImageFacts; hashes: Set<string> }[] = [];
  const stretches: KeptStretch[] = [];
  let at: number = UNDO_HEADER.sizeBytes;
  for (let sequence = 0n; ; sequence++) {
    const entry = await entryAt(handle, at, header.fileId);
    if (entry === null || entry.head.sequence !== sequence || !accept(entry, images, stretches)) break;
    at += entryBytes(entry.head.payloadBytes);
  }
  const damaged = await saysDurable(handle, at, size, header.fileId);
  return { path, header, images, stretches, isTorn: at < size, damagedAt: damaged ? at : null };
}

interface FoundEntry {
  readonly head: EntryHead;
  readonly payload: Uint8Array;
  readonly payloadAt: number;
}

/** null: no whole entry of this file is there. */
async function entryAt(handle: FileHandle, at: number, fileId: bigint): Promise<FoundEntry | null> {
  const head = decodeEntry(await bytesAt(handle, at, UNDO_ENTRY.sizeBytes), fileId);
  if (head === null) return null;
  const payloadAt = at + UNDO_ENTRY.sizeBytes;
  const payload = await bytesAt(handle, payloadAt, head.payloadBytes);
  const isWhole = payload.byteLength === head.payloadBytes && crc32c(payload) === head.payloadChecksum;
  return isWhole ? { head, payload, payloadAt } : null;
}

/** False: it makes no sense after those before it. */
function accept(
  { head, payload, payloadAt }: FoundEntry,
  images: { facts: UndoImageFacts; hashes: Set<string> }[],
  stretches: KeptStretch[],
): boolean {
  const { kind, image, offset, length } = head;
  if (kind === 'image') {
    const facts = decodeImage(payload);
    if (facts === null || image !== images.length) return false;
    images.push({ facts, hashes: new Set([facts.superblockHash]) });
    return true;
  }
  const known = images[image];
  if (known === undefined) return false;
  if (kind === 'state') {
    const hash = decodeState(payload);
    if (hash !== null) known.hashes.add(hash);
    return hash !== null;
  }
  const isAligned = offset % SECTOR_BYTES === 0 && length % SECTOR_BYTES === 0;
  if (!isAligned || offset + length > known.facts.sizeBytes) return false;
  if (kind === 'content' && payload.byteLength !== length) return false;
  stretches.push({ image, offset, length, payloadAt: kind === 'content' ? payloadAt : null });
  return true;
}

/** Whether an entry behind `at` says that what is at `at` was durable when it was written. */
async function saysDurable(handle: FileHandle, at: number, size: number, fileId: bigint): Promise<boolean> {
  for (let next = at + SECTOR_BYTES; next < size; next += SECTOR_BYTES) {
    const head = decodeEntry(await bytesAt(handle, next, UNDO_ENTRY.sizeBytes), fileId);
    if (head !== null && head.committed > at) return true;
  }
  return false;
}

/** As many as there are. */
async function bytesAt(handle: FileHandle, at: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, at + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}
