/**
 * Replies of one connection, in the form that was agreed on: simple ones, or structured ones in chunks.
 *
 * Invariants
 * - The messages of one reply are never torn by another's. While somebody sends data that must follow its header
 *   without a break (`exclusive`), what others have to say waits its turn; they do not wait.
 * - Success without data is a simple reply also where structured ones were agreed on ("Simple reply message"
 *   allows it): it is the shorter one.
 */
import { CHUNKS, REPLY_FLAGS } from '../protocol/constants.js';
import {
  CHUNK_HEADER_BYTES,
  type Cookie,
  encodeChunkError,
  encodeChunkHeader,
  encodeHole,
  encodeOffset,
  encodeSimpleReply,
  OFFSET_DATA_BYTES,
  OFFSET_HOLE_BYTES,
  SIMPLE_REPLY_BYTES,
} from '../protocol/transmission.js';
import type { SocketWriter } from '../wire/socket-writer.js';
import type { ReplyBuffer } from './reply-buffers.js';

/** Why a request failed. */
export interface Failure {
  /** One of ERRORS. */
  readonly error: number;
  /** For people; tells nothing of the server's files. */
  readonly message: string;
}

const DATA_HEADER_BYTES = CHUNK_HEADER_BYTES + OFFSET_DATA_BYTES;
const DONE = REPLY_FLAGS.NBD_REPLY_FLAG_DONE;

export class Replies {
  #isTaken = false;
  /** Replies that wait for the end of an exclusive one, and those who want to send one. */
  #held: (() => void)[] = [];
  readonly #wantsTurn: (() => void)[] = [];

  constructor(
    readonly writer: SocketWriter,
    readonly structured: boolean,
  ) {}

  /** Success, without data. */
  ack(cookie: Cookie): void {
    if (this.#isTaken) this.#held.push(() => this.ack(cookie));
    else this.#simple(cookie, 0);
  }

  /** The request failed as a whole; nothing of its reply was sent before. */
  failure(cookie: Cookie, failure: Failure): void {
    if (this.#isTaken) this.#held.push(() => this.failure(cookie, failure));
    else if (this.structured) this.#error(cookie, failure, DONE);
    else this.#simple(cookie, failure.error);
  }

  /** The whole answer to a read, data only. `sent` is called when the buffer is free again. */
  data(cookie: Cookie, buffer: ReplyBuffer, offset: number, length: number, sent: () => void): void {
    if (this.#isTaken) {
      this.#held.push(() => this.data(cookie, buffer, offset, length, sent));
      return;
    }
    if (this.structured) {
      const bytes = buffer.framed(DATA_HEADER_BYTES, length);
      encodeDataHeader(bytes, 0, cookie, DONE, offset, length);
      this.writer.send(bytes, sent);
    } else {
      const bytes = buffer.framed(SIMPLE_REPLY_BYTES, length);
      encodeSimpleReply(bytes, 0, cookie, 0);
      this.writer.send(bytes, sent);
    }
  }

  /** A chunk with data, of a structured reply. */
  dataChunk(cookie: Cookie, offset: number, data: Buffer, done: boolean, sent?: () => void): void {
    if (this.#isTaken) {
      this.#held.push(() => this.dataChunk(cookie, offset, data, done, sent));
      return;
    }
    const at = this.writer.claim(DATA_HEADER_BYTES);
    encodeDataHeader(this.writer.slab, at, cookie, done ? DONE : 0, offset, data.byteLength);
    this.writer.send(data, sent);
  }

  /** A chunk that says that a range reads as zeroes. */
  holeChunk(cookie: Cookie, offset: number, length: number, done: boolean): void {
    if (this.#isTaken) {
      this.#held.push(() => this.holeChunk(cookie, offset, length, done));
      return;
    }
    const at = this.#chunk(cookie, done ? DONE : 0, CHUNKS.NBD_REPLY_TYPE_OFFSET_HOLE, OFFSET_HOLE_BYTES);
    encodeHole(this.writer.slab, at, { offset, length });
  }

  /** A chunk of another type, with its payload. */
  chunk(cookie: Cookie, type: number, payload: Buffer, done: boolean): void {
    if (this.#isTaken) {
      this.#held.push(() => this.chunk(cookie, type, payload, done));
      return;
    }
    const at = this.writer.claim(CHUNK_HEADER_BYTES);
    encodeChunkHeader(this.writer.slab, at, cookie, done ? DONE : 0, type, payload.byteLength);
    this.writer.send(payload);
  }

  /** A part of a structured read failed, from `offset` on; more chunks follow. */
  failureAt(cookie: Cookie, { error, message }: Failure, offset: number): void {
    const { type, payload } = encodeChunkError({ error, message, offset });
    this.chunk(cookie, type, payload, false);
  }

  /** Ends a structured reply. */
  done(cookie: Cookie): void {
    if (this.#isTaken) this.#held.push(() => this.done(cookie));
    else this.#chunk(cookie, DONE, CHUNKS.NBD_REPLY_TYPE_NONE, 0);
  }

  /** Ends when the caller alone may send; what others reply waits until `release`. */
  async exclusive(): Promise<void> {
    if (this.#isTaken) await new Promise<void>((resolve) => this.#wantsTurn.push(resolve));
    this.#isTaken = true;
  }

  /** Lets out what waited, then whoever wants to send alone next. */
  release(): void {
    this.#isTaken = false;
    const held = this.#held;
    this.#held = [];
    for (const send of held) send();
    const next = this.#wantsTurn.shift();
    if (next === undefined) return;
    this.#isTaken = true;
    next();
  }

  /** The header of data that follows in pieces through the writer; only while exclusive. */
  contiguousHeader(cookie: Cookie, offset: number, length: number): void {
    if (this.structured) {
      const at = this.writer.claim(DATA_HEADER_BYTES);
      encodeDataHeader(this.writer.slab, at, cookie, 0, offset, length);
    } else this.#simple(cookie, 0);
  }

  #simple(cookie: Cookie, error: number): void {
    const at = this.writer.claim(SIMPLE_REPLY_BYTES);
    encodeSimpleReply(this.writer.slab, at, cookie, error);
  }

  #error(cookie: Cookie, failure: Failure, flags: number): void {
    const { type, payload } = encodeChunkError(failure);
    const at = this.#chunk(cookie, flags, type, payload.byteLength);
    this.writer.slab.set(payload, at);
  }

  /** A chunk's header and room for its payload: the place of the payload in the slab. */
  #chunk(cookie: Cookie, flags: number, type: number, payloadBytes: number): number {
    const at = this.writer.claim(CHUNK_HEADER_BYTES + payloadBytes);
    encodeChunkHeader(this.writer.slab, at, cookie, flags, type, payloadBytes);
    return at + CHUNK_HEADER_BYTES;
  }
}

function encodeDataHeader(
  into: Buffer,
  at: number,
  cookie: Cookie,
  flags: number,
  offset: number,
  length: number,
): void {
  encodeChunkHeader(into, at, cookie, flags, CHUNKS.NBD_REPLY_TYPE_OFFSET_DATA, OFFSET_DATA_BYTES + length);
  encodeOffset(into, at + CHUNK_HEADER_BYTES, offset);
}
