/**
 * The frames of a trace's file. Each is checked when it is met first; of what was read only the last ones are kept, and those that are
 * asked for again are read again.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { crc32c } from '@node-rs/crc32';
import { fileError, systemCode } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import { UncheckedBytes } from '../../structure.js';
import {
  DEFLATED,
  FRAME_MAGIC,
  MAX_RAW_BYTES,
  PLAIN,
  TRACE_FRAME,
  TRACE_HEAD,
  TRACE_MAGIC,
  TRACE_VERSION,
} from './fields.js';
import { TraceDamage } from './items.js';
import { checksumOf } from './trace-writer.js';

/** Frames of about 256 KiB. */
const KEPT_FRAMES = 64;

export class Frames {
  readonly createdMs: number;
  readonly #id: Uint8Array;
  /** Where each begins that is known to be whole. */
  readonly #offsets: number[] = [];
  /** By their numbers, those used last at the end. */
  readonly #kept = new Map<number, Uint8Array>();
  #end: number = TRACE_HEAD.sizeBytes;

  private constructor(
    private readonly path: string,
    private readonly file: number,
    head: Uint8Array,
  ) {
    const view = TRACE_HEAD.at(head);
    this.#id = view.bytes('id').slice();
    this.createdMs = Number(view.big('created_ms'));
  }

  /** Throws METADATA_DAMAGED or UNSUPPORTED for what is no trace, or one that nobody here understands; and what opening a file throws. */
  static open(path: string): Frames {
    let file: number;
    try {
      file = openSync(path, 'r');
    } catch (error) {
      if (systemCode(error) === 'ENOENT')
        throw new UserError('FILE_NOT_FOUND', `${path}: there is no such trace`, { details: { file: path } });
      throw fileError(path, 'read', error);
    }
    try {
      return new Frames(path, file, checkedHead(path, readAt(path, file, 0, TRACE_HEAD.sizeBytes)));
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  /** How many are known. */
  get count(): number {
    return this.#offsets.length;
  }

  /** Where the next one would begin, in the file. */
  get endBytes(): number {
    return this.#end;
  }

  /** The items of the next one; null: the file ends. Throws TraceDamage. */
  next(): Uint8Array | null {
    const found = this.#read(this.#offsets.length, this.#end);
    if (found === null) return null;
    this.#keep(this.#offsets.length, found.items);
    this.#offsets.push(this.#end);
    this.#end += found.frameBytes;
    return found.items;
  }

  /** The items of one that is known. Throws METADATA_DAMAGED where it was whole and is no more. */
  items(number: number): Uint8Array {
    const kept = this.#kept.get(number);
    if (kept !== undefined) {
      this.#keep(number, kept);
      return kept;
    }
    const offset = this.#offsets[number]!;
    try {
      const found = this.#read(number, offset);
      if (found === null) throw new TraceDamage('it is gone');
      this.#keep(number, found.items);
      return found.items;
    } catch (error) {
      if (!(error instanceof TraceDamage)) throw error;
      throw damaged(this.path, offset, `frame ${number} has changed since it was opened: ${error.message}`);
    }
  }

  close(): void {
    closeSync(this.file);
  }

  #keep(number: number, items: Uint8Array): void {
    this.#kept.delete(number);
    this.#kept.set(number, items);
    if (this.#kept.size > KEPT_FRAMES) this.#kept.delete(this.#kept.keys().next().value!);
  }

  #read(number: number, offset: number): { readonly items: Uint8Array; readonly frameBytes: number } | null {
    const header = readAt(this.path, this.file, offset, TRACE_FRAME.sizeBytes);
    if (header.length === 0) return null;
    if (header.length < TRACE_FRAME.sizeBytes) throw new TraceDamage('a frame is cut short');
    const view = TRACE_FRAME.at(header);
    if (Buffer.compare(view.bytes('magic'), FRAME_MAGIC) !== 0) throw new TraceDamage('there is no frame');
    if (Buffer.compare(view.bytes('trace'), this.#id.subarray(0, 8)) !== 0)
      throw new TraceDamage('there is a frame of another trace');
    const [stored, raw] = [view.number('stored_bytes'), view.number('raw_bytes')];
    if (raw > MAX_RAW_BYTES || stored > raw) throw new TraceDamage('a frame says that it is too long');
    const frame = readAt(this.path, this.file, offset, TRACE_FRAME.sizeBytes + stored);
    if (frame.length < TRACE_FRAME.sizeBytes + stored) throw new TraceDamage('a frame is cut short');
    if (view.number('checksum') !== checksumOf(frame))
      throw new TraceDamage('the checksum of a frame is wrong');
    const found = view.number('number');
    if (found !== number) throw new TraceDamage(`frame ${found} is where frame ${number} belongs`);
    const payload = frame.subarray(TRACE_FRAME.sizeBytes);
    return { items: decoded(payload, raw, view.number('encoding')), frameBytes: frame.length };
  }
}

function decoded(payload: Uint8Array, rawBytes: number, encoding: number): Uint8Array {
  if (encoding !== PLAIN && encoding !== DEFLATED) throw new TraceDamage(`encoding ${encoding} is unknown`);
  const items = encoding === PLAIN ? payload : inflated(payload, rawBytes);
  if (items.length !== rawBytes) throw new TraceDamage('a frame is not as long as it says');
  return items;
}

function inflated(payload: Uint8Array, rawBytes: number): Uint8Array {
  try {
    const { buffer, byteOffset, length } = inflateRawSync(payload, {
      maxOutputLength: Math.max(1, rawBytes),
    });
    // A Buffer's slice is no copy: who takes one must not change what others read.
    return new Uint8Array(buffer, byteOffset, length);
  } catch (error) {
    throw new TraceDamage(`a frame cannot be inflated: ${(error as Error).message}`);
  }
}

function checkedHead(path: string, bytes: Uint8Array): Uint8Array {
  const head = new UncheckedBytes(bytes, 0).bytes;
  if (head.length < TRACE_HEAD.sizeBytes) throw damaged(path, 0, 'it is shorter than the head of a trace');
  const view = TRACE_HEAD.at(head);
  if (Buffer.compare(view.bytes('magic'), TRACE_MAGIC) !== 0) throw damaged(path, 0, 'it is no trace');
  if (view.number('checksum') !== crc32c(head.subarray(0, TRACE_HEAD.offsetOf('checksum'))))
    throw damaged(path, 0, 'the checksum of its head is wrong');
  const [version, incompat] = [view.number('version'), view.number('incompat')];
  if (version !== TRACE_VERSION || incompat !== 0)
    throw new UserError('UNSUPPORTED', `${path}: a trace of version ${version}, incompat ${incompat}`, {
      hint: 'Use the holdfast that made it.',
      details: { file: path },
    });
  return head;
}

export function damaged(path: string, offsetBytes: number, why: string): UserError {
  return new UserError('METADATA_DAMAGED', `${path}: offset ${offsetBytes}: ${why}`, {
    hint: 'holdfast crash record makes traces.',
    details: { file: path, offsetBytes },
  });
}

/** Less where the file ends. */
function readAt(path: string, file: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  try {
    let at = 0;
    while (at < length) {
      const read = readSync(file, bytes, at, length - at, offset + at);
      if (read === 0) break;
      at += read;
    }
    return bytes.subarray(0, at);
  } catch (error) {
    throw fileError(path, 'read', error);
  }
}
