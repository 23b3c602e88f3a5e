/**
 * One connection in the transmission phase: many requests in flight, told apart by their cookies.
 *
 * Source: NBD doc/proto.md, "Transmission".
 *
 * Invariants
 * - A request ends once: with its answer, or with ConnectionLost when the connection ends before. After it has
 *   ended nothing is written into its buffers any more.
 * - A server that breaks the protocol, or says that it is shutting down, has ended the connection: what it has not
 *   answered by then is for another connection.
 */
import { bufferList } from '../../device/buffers.js';
import { COMMANDS, REPLY_FLAGS } from '../protocol/constants.js';
import { ProtocolError } from '../protocol/protocol-error.js';
import {
  CHUNK_HEADER_BYTES,
  decodeChunkHeader,
  decodeReplyMagic,
  decodeSimpleReply,
  encodeRequest,
  REQUEST_BYTES,
  SIMPLE_REPLY_BYTES,
} from '../protocol/transmission.js';
import { ConnectionEnded } from '../wire/socket-reader.js';
import { SocketWriter } from '../wire/socket-writer.js';
import { type ConnectionLost, lost } from './client-errors.js';
import type { Negotiated } from './handshake.js';
import { type NbdRequest, Pending } from './pending.js';
import type { NbdTarget } from './uri.js';

/** How long a server may take to close after it was told goodbye. */
const GOODBYE_MS = 1000;
const NO_BYTES = { flags: 0, offset: 0, length: 0 };

export class NbdConnection {
  readonly negotiated: Negotiated;
  /** Resolves when the connection has ended and every request with it. */
  readonly ended: Promise<void>;
  readonly #target: NbdTarget;
  readonly #writer: SocketWriter;
  readonly #pending = new Map<number, Pending>();
  readonly #header = Buffer.alloc(CHUNK_HEADER_BYTES);
  #nextCookie = 0;
  #end: ConnectionLost | null = null;

  /** `answerTimeoutMs`: a server that is silent for so long while it owes an answer is gone; 0: never. */
  constructor(negotiated: Negotiated, target: NbdTarget, answerTimeoutMs: number) {
    const { socket } = negotiated;
    this.negotiated = negotiated;
    this.#target = target;
    this.#writer = new SocketWriter(socket);
    socket.setTimeout(answerTimeoutMs, () => {
      if (this.#pending.size > 0) this.destroy(`the server has not answered for ${answerTimeoutMs} ms`);
    });
    this.ended = this.#receive();
  }

  /** @throws ConnectionLost; AnsweredError when the server answers with an error. */
  send(request: NbdRequest): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (this.#end !== null) {
        reject(this.#end);
        return;
      }
      const cookie = this.#freeCookie();
      this.#pending.set(cookie, new Pending(request, resolve, reject));
      request.onSend?.();
      this.#put(cookie, request);
    });
  }

  /** Ends the connection at once: no request is answered any more. */
  destroy(why: string, cause?: unknown): void {
    this.#end ??= lost(this.#target, why, cause);
    this.negotiated.socket.destroy();
  }

  /** Says goodbye and ends. All requests must have been answered. */
  async disconnect(): Promise<void> {
    if (this.#end === null) {
      this.#put(this.#freeCookie(), { command: COMMANDS.NBD_CMD_DISC, ...NO_BYTES });
      this.#end = lost(this.#target, 'it is closed');
      await this.#writer.flushed();
      this.negotiated.socket.end();
    }
    const impatience = setTimeout(() => this.negotiated.socket.destroy(), GOODBYE_MS);
    await this.ended;
    clearTimeout(impatience);
  }

  #freeCookie(): number {
    do this.#nextCookie = (this.#nextCookie + 1) >>> 0;
    while (this.#pending.has(this.#nextCookie));
    return this.#nextCookie;
  }

  #put(cookieLow: number, { command, flags, offset, length, data }: NbdRequest): void {
    const at = this.#writer.claim(REQUEST_BYTES);
    encodeRequest(this.#writer.slab, at, { command, flags, offset, length, cookieHigh: 0, cookieLow });
    if (data === undefined) return;
    for (const bytes of bufferList(data)) if (bytes.byteLength > 0) this.#writer.send(bytes);
  }

  /** Takes replies until there are no more. Ends without an error: whoever asked something is told. */
  async #receive(): Promise<void> {
    const { reader, socket } = this.negotiated;
    try {
      for (;;) {
        const start =
          reader.tryTake(SIMPLE_REPLY_BYTES) ?? (await reader.takeUnlessEnded(SIMPLE_REPLY_BYTES));
        if (start === null) break;
        await this.#reply(start);
      }
      this.#end ??= lost(this.#target, 'the server closed the connection');
    } catch (error) {
      if (!(error instanceof ConnectionEnded || error instanceof ProtocolError)) {
        // A fault of ours, which must not leave anybody waiting.
        this.#rejectAll(error as Error);
        socket.destroy();
        throw error;
      }
      this.#end ??= lost(this.#target, error.message, error);
    }
    socket.destroy();
    this.#rejectAll(this.#end);
  }

  #rejectAll(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  async #reply(start: Buffer): Promise<void> {
    const { reader, isStructured } = this.negotiated;
    if (decodeReplyMagic(start, 0) === 'simple') {
      const { error, cookieHigh, cookieLow } = decodeSimpleReply(start, 0);
      const pending = this.#pendingOf(cookieHigh, cookieLow);
      await pending.simple(error, reader, isStructured);
      this.#finish(cookieLow, pending);
      return;
    }
    if (!isStructured) throw new ProtocolError('a structured reply that was not agreed on');
    const rest = CHUNK_HEADER_BYTES - SIMPLE_REPLY_BYTES;
    this.#header.set(start);
    this.#header.set(reader.tryTake(rest) ?? (await reader.take(rest)), SIMPLE_REPLY_BYTES);
    const header = decodeChunkHeader(this.#header, 0);
    const pending = this.#pendingOf(header.cookieHigh, header.cookieLow);
    await pending.chunk(header, reader);
    if ((header.flags & REPLY_FLAGS.NBD_REPLY_FLAG_DONE) !== 0) this.#finish(header.cookieLow, pending);
  }

  #pendingOf(high: number, low: number): Pending {
    const pending = high === 0 ? this.#pending.get(low) : undefined;
    if (pending === undefined)
      throw new ProtocolError(`a reply to request ${high}:${low}, which is not in flight`);
    return pending;
  }

  #finish(cookie: number, pending: Pending): void {
    if (pending.isShutdown) throw new ProtocolError('the server is shutting down');
    pending.finish();
    this.#pending.delete(cookie);
  }
}
