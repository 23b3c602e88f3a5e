/**
 * The transmission phase of one connection: requests are read one after another and worked off side by side;
 * replies go out as they come.
 *
 * - Requests that have arrived are begun without a wait in between; one waits only for memory, for its payload,
 *   and when too many are in flight or the client does not read its replies. So a client that stops reading is
 *   soon not listened to, and costs what it held then.
 * - A request that fails is answered. The connection ends only where the stream can not be followed.
 * - When the client says goodbye or is gone, what is in flight ends first; then the connection is closed.
 */
import { COMMAND_FLAGS, COMMANDS } from '../protocol/constants.js';
import { decodeRequest, REQUEST_BYTES, type RequestHeader } from '../protocol/transmission.js';
import { answerStatus, STATUS_BYTES } from './block-status.js';
import { FAILURES } from './failures.js';
import { prefetch } from './prefetch.js';
import { isOnePiece, readContiguously, readInChunks, readOnePiece } from './reads.js';
import type { Failure } from './replies.js';
import { kindOf, refusalOf } from './request-rules.js';
import type { Session } from './session.js';
import { isDurable, receiveWrite, tryTakePayload, type Unfinished, writeTaken } from './writes.js';

const MAX_IN_FLIGHT = 1024;
/** So much the client may leave unread before its next request is looked at. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;

export class Transmission {
  #inFlight = 0;
  #stopping = false;
  /** Called when a request has ended, or the server is being stopped. */
  #wake: (() => void) | null = null;

  constructor(private readonly session: Session) {}

  /** Ends when all requests have ended and no more will come. */
  async run(): Promise<void> {
    const { reader, replies } = this.session;
    try {
      // A client that has gone altogether is not told anything; what it still wanted is not begun.
      while (!replies.writer.closed) {
        const header = reader.tryTake(REQUEST_BYTES) ?? (await reader.takeUnlessEnded(REQUEST_BYTES));
        if (header === null) break;
        const request = decodeRequest(header, 0);
        if (request.command === COMMANDS.NBD_CMD_DISC) break;
        if (this.#isCrowded()) await this.#thinned();
        const taken = this.#begin(request);
        if (taken !== null) await taken;
      }
    } finally {
      await this.idle();
    }
  }

  /** Ends when nothing is in flight. */
  async idle(): Promise<void> {
    while (this.#inFlight > 0) await this.#woken();
  }

  /** Requests that come from now on are refused. */
  stop(): void {
    this.#stopping = true;
  }

  #isCrowded(): boolean {
    return this.#inFlight >= MAX_IN_FLIGHT || this.session.replies.writer.queuedBytes >= MAX_UNREAD_BYTES;
  }

  async #thinned(): Promise<void> {
    while (this.#inFlight >= MAX_IN_FLIGHT) await this.#woken();
    await this.session.replies.writer.ready();
  }

  async #woken(): Promise<void> {
    const earlier = this.#wake;
    await new Promise<void>((resolve) => {
      this.#wake = () => {
        earlier?.();
        resolve();
      };
    });
  }

  /** Begins the request. The answer ends when the next one may be read; null: at once. */
  #begin(request: RequestHeader): Promise<void> | null {
    this.#count(request);
    const refusal = this.#stopping ? FAILURES.stopping : refusalOf(request, this.session);
    if (refusal !== null) return this.#refuse(request, refusal);
    const { account } = this.session;
    switch (request.command) {
      case COMMANDS.NBD_CMD_READ:
        return this.#beginRead(request);
      case COMMANDS.NBD_CMD_WRITE:
        return this.#tryBeginWrite(request) ? null : this.#beginWrite(request);
      case COMMANDS.NBD_CMD_BLOCK_STATUS:
        return this.#withMemory(STATUS_BYTES, () =>
          this.#work(
            request,
            answerStatus(this.session, request).finally(() => account.give(STATUS_BYTES)),
          ),
        );
      default:
        this.#work(request, this.#change(request));
        return null;
    }
  }

  #beginRead(request: RequestHeader): Promise<void> | null {
    const { session } = this;
    if (request.length === 0) {
      if (session.structured) session.replies.done(request);
      else session.replies.ack(request);
      this.#ended();
      return null;
    }
    if (isOnePiece(request)) {
      return this.#withMemory(request.length, () => {
        const work = readOnePiece(session, request);
        if (work === null) this.#ended();
        else this.#work(request, work);
      });
    }
    const isChunked = session.structured && (request.flags & COMMAND_FLAGS.NBD_CMD_FLAG_DF) === 0;
    this.#work(request, isChunked ? readInChunks(session, request) : readContiguously(session, request));
    return null;
  }

  #tryBeginWrite(request: RequestHeader): boolean {
    const { session } = this;
    const payload = tryTakePayload(session, request);
    if (payload === null) return false;
    const work = writeTaken(session, request, payload);
    if (work === null) {
      session.replies.ack(request);
      this.#ended();
    } else this.#work(request, this.#answered(request, work));
    return true;
  }

  async #beginWrite(request: RequestHeader): Promise<void> {
    let finish: Unfinished;
    try {
      finish = await receiveWrite(this.session, request);
    } catch (error) {
      this.#ended();
      throw error;
    }
    this.#work(request, this.#answered(request, finish()));
  }

  /** Calls `begin` when so much memory was taken: at once (null), or later. */
  #withMemory(bytes: number, begin: () => void): Promise<void> | null {
    const { account } = this.session;
    if (!account.tryTake(bytes)) return account.take(bytes).then(begin);
    begin();
    return null;
  }

  /** FLUSH, TRIM, CACHE and WRITE_ZEROES. */
  async #change(request: RequestHeader): Promise<void> {
    const { served, replies } = this.session;
    const { command, flags, offset, length } = request;
    const durable = isDurable(this.session, request);
    switch (command) {
      case COMMANDS.NBD_CMD_FLUSH:
        await served.device.flush();
        break;
      case COMMANDS.NBD_CMD_TRIM:
        if (length > 0) await served.device.trim(offset, length);
        if (durable) await served.device.flush();
        break;
      case COMMANDS.NBD_CMD_WRITE_ZEROES:
        if (!(await this.#zero(flags, offset, length, durable))) {
          this.#refuseNow(request, FAILURES.notFast);
          return;
        }
        break;
      default:
        await prefetch(this.session, request);
    }
    replies.ack(request);
  }

  /** False where it was to be fast and would not be: then nothing was done. */
  async #zero(flags: number, offset: number, length: number, durable: boolean): Promise<boolean> {
    const { device, zeroesFast } = this.session.served;
    const allocates = (flags & COMMAND_FLAGS.NBD_CMD_FLAG_NO_HOLE) !== 0;
    const isFast = zeroesFast && !allocates;
    if ((flags & COMMAND_FLAGS.NBD_CMD_FLAG_FAST_ZERO) !== 0 && !isFast) return false;
    if (length === 0) return true;
    if (!allocates) {
      await device.zero(offset, length, { fua: durable });
      return true;
    }
    await device.writeZeroData(offset, length);
    if (durable) await device.flush();
    return true;
  }

  async #answered(request: RequestHeader, work: Promise<void>): Promise<void> {
    await work;
    this.session.replies.ack(request);
  }

  /** Waits for work that answers by itself when it goes well. */
  #work(request: RequestHeader, work: Promise<void>): void {
    work.then(this.#ended, (error: unknown) => {
      this.session.replies.failure(request, this.session.failed(error));
      this.#ended();
    });
  }

  /** Answers an error; a payload that comes with the request is read and dropped first. */
  #refuse(request: RequestHeader, failure: Failure): Promise<void> | null {
    const hasPayload = request.command === COMMANDS.NBD_CMD_WRITE && request.length > 0;
    if (hasPayload) {
      return this.session.reader
        .skip(request.length)
        .finally(this.#ended)
        .then(() => this.#refuseNow(request, failure));
    }
    this.#refuseNow(request, failure);
    this.#ended();
    return null;
  }

  #refuseNow(request: RequestHeader, failure: Failure): void {
    this.session.counters.errors += 1;
    this.session.served.counters.errors += 1;
    this.session.replies.failure(request, failure);
  }

  #count({ command }: RequestHeader): void {
    const { counters, served } = this.session;
    const kind = kindOf(command);
    if (kind !== null) {
      counters.requests[kind] += 1;
      served.counters.requests[kind] += 1;
    }
    this.#inFlight += 1;
    counters.inFlight += 1;
    served.counters.inFlight += 1;
  }

  readonly #ended = (): void => {
    const { counters, served } = this.session;
    this.#inFlight -= 1;
    counters.inFlight -= 1;
    served.counters.inFlight -= 1;
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  };
}
