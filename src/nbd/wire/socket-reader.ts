/**
 * Bytes from a socket, taken in the lengths that a protocol has: exactly n of them, as a view, as views, or put
 * where the caller wants them.
 *
 * - What arrives is kept in the buffers that it was received into. Views of them are handed out, so nothing is
 *   copied but what is asked for in one piece and arrived in two. A view keeps its whole buffer (128 KiB at
 *   most) from being collected. No byte of one is received into twice.
 * - What is read into the caller's memory is received there (direct-socket.ts), but for what had come before. So that
 *   little has, little is received right after a long one: its first bytes tell where all the others are wanted.
 * - The socket is paused once HIGH_WATER_BYTES lie here and nobody waits for more: a peer that sends faster
 *   than it is served is slowed down by the kernel, and costs no more memory than that.
 * - `try...` never waits, so a burst of small messages is taken apart without a promise for each.
 * - One caller at a time: nothing may be asked for while something else is being waited for.
 */
import type { Socket } from 'node:net';
import { bufferList } from '../../device/buffers.js';
import type { Buffers } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { type Receiver, receive } from './direct-socket.js';

const HIGH_WATER_BYTES = 256 * 1024;
const SLAB_BYTES = 128 * 1024;
/** With less room than this a slab is given up: each call of the operating system should bring much. */
const LEAST_ROOM_BYTES = 64 * 1024;
/** After so much in one piece, more like it is likely. */
const LONG_BYTES = 64 * 1024;
/** Node asks for room before it lets anybody look at what has come: for a header, and once more while that is read. */
const SHORT_ROOMS = 2;
const SHORT_ROOM_BYTES = 4 * 1024;

/** The peer closed, or the connection broke, before what was waited for had come. */
export class ConnectionEnded extends UserError {
  constructor(message: string, cause?: unknown) {
    super('IO_ERROR', message, cause === undefined ? {} : { cause });
    this.name = 'ConnectionEnded';
  }
}

interface Waiter {
  readonly bytes: number;
  resolve(): void;
}

export class SocketReader implements Receiver {
  readonly #socket: Socket;
  /** What arrived and was not taken; the first of them from #start on. */
  #chunks: Buffer[] = [];
  #start = 0;
  #buffered = 0;
  #waiter: Waiter | null = null;
  #ended = false;
  #cause: unknown;
  #paused = false;
  /** Where bytes are received that nobody waits for; free from #slabEnd on. */
  #slab: Buffer = Buffer.alloc(0);
  #slabEnd = 0;
  /** What is left to be filled of the memory that somebody waits for. */
  #target: Uint8Array | null = null;
  /** How often little is to be received. */
  #shortRooms = 0;

  /** Takes over what the socket receives, until `detach`. */
  constructor(socket: Socket) {
    this.#socket = socket;
    if (!receive(socket, this)) socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onEnd);
    socket.on('error', this.#onError);
  }

  /** Bytes that have arrived and were not taken. */
  get bufferedBytes(): number {
    return this.#buffered;
  }

  /** Whether the peer has sent all that it will ever send; some of it may still lie here. */
  get ended(): boolean {
    return this.#ended;
  }

  /** A view of the next n bytes if they are all here, or null. */
  tryTake(bytes: number): Buffer | null {
    if (this.#buffered < bytes) return null;
    const first = this.#chunks[0];
    if (first !== undefined && first.byteLength - this.#start >= bytes) {
      const view = first.subarray(this.#start, this.#start + bytes);
      this.#consume(bytes);
      return view;
    }
    return Buffer.concat(this.#views(bytes), bytes);
  }

  /**
   * The next n bytes in one piece.
   *
   * @throws ConnectionEnded when the peer closes before.
   */
  async take(bytes: number): Promise<Buffer> {
    await this.#arrived(bytes);
    return this.tryTake(bytes)!;
  }

  /** The same, or null when the peer closed before the first of them: where a peer may close. */
  async takeUnlessEnded(bytes: number): Promise<Buffer | null> {
    await this.#waitFor(bytes);
    return this.#buffered === 0 && this.#ended && bytes > 0 ? null : this.take(bytes);
  }

  /** Views of the next n bytes, in order, if they are all here, or null. */
  tryTakeViews(bytes: number): Buffer[] | null {
    return this.#buffered < bytes ? null : this.#views(bytes);
  }

  /** Views of the next n bytes, in order: no more than the peer was promised memory for. */
  async takeViews(bytes: number): Promise<Buffer[]> {
    await this.#arrived(bytes);
    return this.#views(bytes);
  }

  /** Fills the buffers with what comes next, as it comes: nothing gathers here meanwhile. */
  async readInto(into: Buffers): Promise<void> {
    for (const target of bufferList(into)) {
      let at = 0;
      while (at < target.byteLength && this.#buffered > 0) {
        const bytes = Math.min(target.byteLength - at, this.#firstBytes());
        target.set(this.#chunks[0]!.subarray(this.#start, this.#start + bytes), at);
        this.#consume(bytes);
        at += bytes;
      }
      if (at < target.byteLength) await this.#filled(target.subarray(at));
    }
  }

  room(): Uint8Array {
    if (this.#target !== null) return this.#target;
    const isShort = this.#shortRooms > 0;
    if (isShort) this.#shortRooms -= 1;
    if (this.#slab.byteLength - this.#slabEnd < (isShort ? SHORT_ROOM_BYTES : LEAST_ROOM_BYTES)) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#slabEnd = 0;
    }
    return this.#slab.subarray(this.#slabEnd, isShort ? this.#slabEnd + SHORT_ROOM_BYTES : undefined);
  }

  received(bytes: Buffer): void {
    if (bytes.buffer === this.#slab.buffer) this.#slabEnd += bytes.byteLength;
    this.#onData(bytes);
  }

  /** Drops the next n bytes as they come, without keeping them. */
  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; ) {
      if (this.#buffered === 0) await this.#arrived(1);
      const now = Math.min(left, this.#firstBytes());
      this.#consume(now);
      left -= now;
    }
  }

  /** Leaves the socket, paused, to somebody else; what lies here stays here. */
  detach(): void {
    receive(this.#socket, null);
    this.#socket.off('data', this.#onData);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onEnd);
    this.#socket.off('error', this.#onError);
    this.#socket.pause();
  }

  readonly #onData = (bytes: Buffer): void => {
    const chunk = this.#target === null ? bytes : this.#fill(this.#target, bytes);
    if (chunk.byteLength === 0) return;
    this.#chunks.push(chunk);
    this.#buffered += chunk.byteLength;
    const waiter = this.#waiter;
    if (waiter !== null) {
      if (this.#buffered < waiter.bytes) return;
      this.#waiter = null;
      waiter.resolve();
    }
    if (this.#buffered >= HIGH_WATER_BYTES) this.#pause();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#waiter?.resolve();
    this.#waiter = null;
  };

  readonly #onError = (error: Error): void => {
    this.#cause ??= error;
    this.#onEnd();
  };

  /** Ends when the memory is full; nothing lies here that it could be filled with. */
  async #filled(target: Uint8Array): Promise<void> {
    this.#target = target;
    this.#shortRooms = target.byteLength < LONG_BYTES ? 0 : SHORT_ROOMS;
    while (this.#target !== null && !this.#ended) await this.#woken(Number.POSITIVE_INFINITY);
    const missing = this.#target as Uint8Array | null;
    this.#target = null;
    if (missing !== null) throw this.#endedBefore(missing.byteLength);
  }

  /** Puts into the memory that is waited for what it has room for, unless it was received there; returns the rest. */
  #fill(target: Uint8Array, bytes: Buffer): Buffer {
    const taken = Math.min(target.byteLength, bytes.byteLength);
    const isThere = bytes.buffer === target.buffer && bytes.byteOffset === target.byteOffset;
    if (!isThere) target.set(bytes.subarray(0, taken));
    this.#target = taken === target.byteLength ? null : target.subarray(taken);
    if (this.#target === null) {
      this.#waiter?.resolve();
      this.#waiter = null;
    }
    return bytes.subarray(taken);
  }

  /** Ends when so many bytes are here, or no more will come. */
  async #waitFor(bytes: number): Promise<void> {
    while (this.#buffered < bytes && !this.#ended) await this.#woken(bytes);
  }

  /** Ends when so many bytes may be here. */
  #woken(bytes: number): Promise<void> {
    if (this.#waiter !== null) throw new Error('Two readers wait for the same socket.');
    this.#resume();
    return new Promise((resolve) => {
      this.#waiter = { bytes, resolve };
    });
  }

  async #arrived(bytes: number): Promise<void> {
    await this.#waitFor(bytes);
    if (this.#buffered < bytes) throw this.#endedBefore(bytes - this.#buffered);
  }

  #endedBefore(bytes: number): ConnectionEnded {
    const cause = this.#cause instanceof Error ? `: ${this.#cause.message}` : '';
    return new ConnectionEnded(
      `the connection ended ${bytes} bytes before the end of a message${cause}`,
      this.#cause,
    );
  }

  #views(bytes: number): Buffer[] {
    const views: Buffer[] = [];
    for (let left = bytes; left > 0; ) {
      const now = Math.min(left, this.#firstBytes());
      views.push(this.#chunks[0]!.subarray(this.#start, this.#start + now));
      this.#consume(now);
      left -= now;
    }
    return views;
  }

  /** Bytes that lie in one piece at the front. */
  #firstBytes(): number {
    return this.#chunks[0]!.byteLength - this.#start;
  }

  /** Takes bytes off the front; they lie in the first buffer. */
  #consume(bytes: number): void {
    this.#start += bytes;
    this.#buffered -= bytes;
    if (this.#start === this.#chunks[0]?.byteLength) {
      this.#chunks.shift();
      this.#start = 0;
    }
    if (this.#paused && this.#buffered < HIGH_WATER_BYTES / 2) this.#resume();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }
}
