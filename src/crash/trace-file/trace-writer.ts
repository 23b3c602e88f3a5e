/**
 * Writes a trace into a file as it comes (fields.ts, items.ts). Frames are closed when they are large enough, or after a moment: of a
 * recorder that is killed nearly all is in the file. It is durable when `close` returns, and not before.
 *
 * Contents are known by the first 128 bits of their SHA-256: each is kept once, however often it is written.
 */
import { hash, randomBytes } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { crc32c } from '@node-rs/crc32';
import { fileError, systemCode } from '../../device/device-errors.js';
import { syncDirectory } from '../../device/image-open.js';
import { UserError } from '../../errors.js';
import type { FileVersion } from '../file-versions.js';
import { StateTable } from '../state-table.js';
import type { DiskRequest, Operation, TraceEvent } from '../trace.js';
import {
  DEFLATED,
  FRAME_MAGIC,
  MAX_WRITE_BYTES,
  PLAIN,
  TRACE_FRAME,
  TRACE_HEAD,
  TRACE_MAGIC,
  TRACE_VERSION,
} from './fields.js';
import { FUA, ITEM, ItemWriter, KINDS, PIECE_BYTES, SECTOR_BYTES, ZEROES_REF } from './items.js';

const FRAME_BYTES = 256 * 1024;
const FRAME_MS = 100;
const LIMIT_BYTES = 64 * 1024 * 1024;
/** Where a frame did not shrink, so many that follow are not tried. */
const UNTRIED_FRAMES = 15;
/** A shorter one says nothing of those after it, and costs little to try. */
const TELLING_BYTES = 16 * 1024;
/** It did not, where it came to more than this part of its bytes. */
const WORTH = 0.9;
const ZEROES = Buffer.alloc(PIECE_BYTES);

const deflate = promisify(deflateRaw) as (bytes: Uint8Array, options: { level: number }) => Promise<Buffer>;

export interface TraceAbout {
  /** What is recorded. */
  readonly command: readonly string[];
  /** Bytes that may wait to be written; 64 MiB unless said otherwise. */
  readonly limitBytes?: number;
}

export class TraceWriter {
  readonly #items = new ItemWriter();
  readonly #contents = new StateTable();
  readonly #started = performance.now();
  readonly #limitBytes: number;
  #devices = 0;
  #disks = 0;
  #operations = 0;
  #requests = 0;
  #events = 0;
  #lastMicroseconds = 0;
  #frames = 0;
  /** Of the file so far. */
  #bytes = TRACE_HEAD.sizeBytes;
  #waitingBytes = 0;
  #waiters: (() => void)[] = [];
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();
  #failure: { readonly cause: unknown } | null = null;
  #untried = 0;

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private readonly id: Uint8Array,
    { command, limitBytes = LIMIT_BYTES }: TraceAbout,
  ) {
    this.#limitBytes = limitBytes;
    this.#items.numbers(ITEM.command);
    this.#items.text(JSON.stringify(command));
  }

  /** Throws FILE_EXISTS where something is there, and what making a file throws. */
  static async create(path: string, about: TraceAbout): Promise<TraceWriter> {
    const id = randomBytes(16);
    let file: FileHandle | null = null;
    try {
      file = await open(path, 'wx');
      await file.write(headOf(id), 0, TRACE_HEAD.sizeBytes, 0);
    } catch (error) {
      await file?.close();
      if (systemCode(error) === 'EEXIST') throw isThere(path);
      // It is ours, and says nothing.
      if (file !== null) await rm(path, { force: true });
      throw fileError(path, 'made', error);
    }
    return new TraceWriter(path, file, id, about);
  }

  /** Of the file so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Its index: 0, 1, ... */
  device({ name, size, blockSize }: { name: string; size: number; blockSize: number }): number {
    this.#items.numbers(ITEM.device, size, blockSize);
    this.#items.text(name);
    this.#added();
    return this.#devices++;
  }

  /** What it held before anything was written there: whole pages of 4096 bytes, but at its end. What is never told is zeroes. */
  base(device: number, offset: number, bytes: Uint8Array): void {
    if (offset % PIECE_BYTES !== 0) throw new RangeError(`offset ${offset} is not of whole pages`);
    for (const [at, piece] of piecesAt(offset, bytes)) {
      const ref = this.#content(piece);
      if (ref !== ZEROES_REF) this.#items.numbers(ITEM.base, device, at / PIECE_BYTES, ref);
      this.#added();
    }
  }

  /** That the devices are the images of a volume: what was named. */
  volume(named: string): void {
    this.#items.numbers(ITEM.volume);
    this.#items.text(named);
    this.#added();
  }

  /** What a file beside the images holds; it is small. */
  file(path: string, bytes: Uint8Array): void {
    this.#items.numbers(ITEM.file);
    this.#items.text(path);
    this.#items.numbers(bytes.length);
    this.#items.bytes(bytes);
    this.#added();
  }

  /** That a device is a file which is replaced as a whole, and its next version: the first one is what it held before. */
  version(device: number, version: FileVersion): void {
    this.#items.numbers(ITEM.version, device, version === null ? 0 : version.length + 1);
    if (version !== null) this.#items.bytes(version);
    this.#added();
  }

  /** A disk that clients use: its index, counted by itself. */
  disk({ name, size }: { name: string; size: number }): number {
    this.#items.numbers(ITEM.disk, size);
    this.#items.text(name);
    this.#added();
    return this.#disks++;
  }

  /** As `event`; requests come in the order of their numbers. */
  request({ is, request }: Pick<DiskRequest, 'is' | 'request'>): void {
    if (this.#failure !== null) return;
    if (is === 'answered')
      this.#items.numbers(ITEM.answered, this.#elapsed(), this.#requests - 1 - request.number);
    else this.#asked(request);
    this.#added();
  }

  /** It is encoded when this returns. Operations come in the order of their numbers. */
  event(event: TraceEvent): void {
    if (this.#failure !== null) return;
    this.#events += 1;
    if (event.kind === 'submit') this.#submit(event.operation);
    else if (event.kind === 'complete')
      this.#items.numbers(ITEM.complete, this.#elapsed(), this.#operations - 1 - event.operation.number);
    else {
      const { name, detail } = event.mark;
      this.#items.numbers(ITEM.mark, this.#elapsed());
      this.#items.text(name);
      this.#items.text(detail === undefined ? '' : JSON.stringify(detail));
    }
    this.#added();
  }

  /** Returns when little enough waits to be written. Throws what writing threw, now or before. */
  async ready(): Promise<void> {
    while (this.#waitingBytes > this.#limitBytes && this.#failure === null)
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    this.#assertGood();
  }

  /** Returns when all that was told is in the file; durable is what `close` makes it. Throws as `ready`. */
  async written(): Promise<void> {
    this.#seal();
    await this.#writing;
    this.#assertGood();
  }

  /** It is whole, and durable. Throws what writing threw: then it is as far as it could be written. */
  async close(): Promise<void> {
    this.#items.numbers(ITEM.end, this.#devices, this.#contents.size, this.#operations, this.#events);
    this.#seal();
    await this.#writing;
    try {
      if (this.#failure === null) await this.handle.sync();
    } catch (error) {
      this.#fail(error);
    } finally {
      await this.handle.close();
    }
    this.#assertGood();
    await syncDirectory(dirname(this.path));
  }

  #submit({ number, device, kind, offset, length, bytes, fua }: Operation): void {
    if (number !== this.#operations) throw new Error(`operation ${number} is not the next one`);
    if (bytes !== null && length > MAX_WRITE_BYTES) throw new RangeError(`a write of ${length} bytes`);
    this.#operations += 1;
    const refs = bytes === null ? [] : [...piecesAt(offset, bytes)].map(([, piece]) => this.#content(piece));
    this.#items.numbers(ITEM.submit, this.#elapsed(), device, KINDS.indexOf(kind) + (fua ? FUA : 0));
    this.#items.numbers(offset / SECTOR_BYTES, length / SECTOR_BYTES, ...refs);
  }

  #asked({ number, device, kind, offset, length, bytes, fua }: Operation): void {
    if (number !== this.#requests) throw new Error(`request ${number} is not the next one`);
    if (bytes !== null && length > MAX_WRITE_BYTES) throw new RangeError(`a write of ${length} bytes`);
    this.#requests += 1;
    const pieces = bytes === null ? [] : [...piecesAt(...inSectors(offset, bytes))];
    const refs = pieces.map(([, piece]) => this.#content(piece));
    this.#items.numbers(ITEM.asked, this.#elapsed(), device, KINDS.indexOf(kind) + (fua ? FUA : 0));
    this.#items.numbers(offset, length, ...refs);
  }

  /** What it is called from now on; a new one goes before what names it. */
  #content(piece: Uint8Array): number {
    if (Buffer.compare(piece, ZEROES.subarray(0, piece.length)) === 0) return ZEROES_REF;
    const digest = Buffer.from(hash('sha256', piece, 'hex').slice(0, 32), 'hex');
    const words = Int32Array.from({ length: 4 }, (_, word) => digest.readInt32LE(word * 4));
    const known = this.#contents.size;
    const number = this.#contents.number(words);
    if (number === known) {
      this.#items.numbers(ITEM.content, piece.length / SECTOR_BYTES);
      this.#items.bytes(piece);
      // One write may bring more than a frame holds.
      if (this.#items.length >= FRAME_BYTES) this.#seal();
    }
    return number + 1;
  }

  /** Microseconds since the event before. */
  #elapsed(): number {
    const now = Math.round((performance.now() - this.#started) * 1000);
    const elapsed = now - this.#lastMicroseconds;
    this.#lastMicroseconds = now;
    return elapsed;
  }

  #added(): void {
    if (this.#items.length >= FRAME_BYTES) this.#seal();
    else this.#timer ??= setTimeout(() => this.#seal(), FRAME_MS).unref();
  }

  /** What there is becomes a frame. They are packed side by side, and written one after another. */
  #seal(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const raw = this.#items.take();
    if (raw.length === 0) return;
    this.#waitingBytes += raw.length;
    const number = this.#frames++;
    const writing = Promise.all([this.#packed(raw), this.#writing]).then(([payload]) =>
      this.#write(frameOf(payload, raw.length, number, this.id)),
    );
    this.#writing = writing
      .catch((cause: unknown) => this.#fail(cause))
      .then(() => {
        this.#waitingBytes -= raw.length;
        for (const wake of this.#waiters.splice(0)) wake();
      });
  }

  /** Deflated, where that is shorter. What is encrypted or random costs the time that it takes to find that out, and not more often than need be. */
  async #packed(raw: Uint8Array): Promise<Uint8Array> {
    if (this.#untried > 0) {
      this.#untried -= 1;
      return raw;
    }
    const deflated = await deflate(raw, { level: 1 });
    if (deflated.length < raw.length * WORTH) return deflated;
    if (raw.length >= TELLING_BYTES) this.#untried = UNTRIED_FRAMES;
    return deflated.length < raw.length ? deflated : raw;
  }

  async #write(frame: Uint8Array): Promise<void> {
    if (this.#failure !== null) return;
    for (let at = 0; at < frame.length; )
      at += (await this.handle.write(frame, at, frame.length - at, this.#bytes + at)).bytesWritten;
    this.#bytes += frame.length;
  }

  #fail(cause: unknown): void {
    this.#failure ??= { cause: fileError(this.path, 'written', cause) };
  }

  #assertGood(): void {
    if (this.#failure !== null) throw this.#failure.cause;
  }
}

function isThere(path: string): UserError {
  return new UserError('FILE_EXISTS', `${path} is there already`, {
    hint: 'Name another file for the trace, or remove that one.',
    details: { file: path },
  });
}

function headOf(id: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(TRACE_HEAD.sizeBytes);
  const view = TRACE_HEAD.at(bytes);
  view.setBytes('magic', TRACE_MAGIC);
  view.setNumber('version', TRACE_VERSION);
  view.setBytes('id', id);
  view.setBig('created_ms', BigInt(Date.now()));
  view.setNumber('checksum', crc32c(bytes.subarray(0, TRACE_HEAD.offsetOf('checksum'))));
  return bytes;
}

/** One frame; a payload that is shorter than what it stands for is deflated. */
export function frameOf(payload: Uint8Array, rawBytes: number, number: number, id: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(TRACE_FRAME.sizeBytes + payload.length);
  const view = TRACE_FRAME.at(bytes);
  view.setBytes('magic', FRAME_MAGIC);
  view.setNumber('number', number);
  view.setNumber('stored_bytes', payload.length);
  view.setNumber('raw_bytes', rawBytes);
  view.setNumber('encoding', payload.length < rawBytes ? DEFLATED : PLAIN);
  view.setBytes('trace', id.subarray(0, 8));
  bytes.set(payload, TRACE_FRAME.sizeBytes);
  view.setNumber('checksum', checksumOf(bytes));
  return bytes;
}

/** Of a frame with its payload. */
export function checksumOf(frame: Uint8Array): number {
  const before = crc32c(frame.subarray(0, TRACE_FRAME.offsetOf('checksum')));
  return crc32c(frame.subarray(TRACE_FRAME.sizeBytes), before);
}

/** With zeroes around it, where it ends amid sectors. */
function inSectors(offset: number, bytes: Uint8Array): readonly [number, Uint8Array] {
  const before = offset % SECTOR_BYTES;
  const length = Math.ceil((before + bytes.length) / SECTOR_BYTES) * SECTOR_BYTES;
  if (length === bytes.length) return [offset, bytes];
  const whole = new Uint8Array(length);
  whole.set(bytes, before);
  return [offset - before, whole];
}

/** Each with its offset on the device. */
function* piecesAt(offset: number, bytes: Uint8Array): Generator<readonly [number, Uint8Array]> {
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, (Math.floor((offset + at) / PIECE_BYTES) + 1) * PIECE_BYTES - offset);
    yield [offset + at, bytes.subarray(at, end)];
    at = end;
  }
}
