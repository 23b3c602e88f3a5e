/**
 * An export behind one connection after another: requests go on over a server that dies and comes back.
 *
 * A server's cache dies with it. So everything that was written and not flushed is kept (UnflushedWrites), and sent
 * again to the server that comes after; where that cannot be, the session fails for good and tells which ranges are
 * in doubt.
 *
 * Invariants
 * - After a reconnect the order is: the export is compared with what it was; all that is kept is sent again, what
 *   overlaps in its order; all of that has been answered; then the requests that were in flight, and new ones.
 * - A request in flight is sent again as it was. Reads, writes, zeroes, trims and flushes may all be done twice.
 * - A flush that is sent again comes after all that is kept was answered by the new server, so it covers the same
 *   writes there as it did before, and those that were answered in the meantime.
 * - What a server answers with an error while it is sent again had been acknowledged before: that is final.
 *
 * What cannot be ruled out: a connection can break while its server lives (a network that fails). What that server
 * still does of the old connection's requests is not ordered against the new connection's; NBD has no means for it.
 */
import { UserError } from '../../errors.js';
import { AnsweredError, ConnectionLost, lost, refusedBy } from './client-errors.js';
import { type ConnectOptions, connectTo } from './connect.js';
import type { NbdConnection } from './connection.js';
import { type ExportTraits, whatChanged } from './export-traits.js';
import { Outage, type ReconnectLimits } from './outage.js';
import type { NbdRequest } from './pending.js';
import { sendAgain } from './send-again.js';
import type { NbdTarget } from './uri.js';

export interface SessionOptions extends Omit<ConnectOptions, 'signal'> {
  readonly reconnect: ReconnectLimits;
  /** Of the first connection. */
  readonly signal?: AbortSignal | undefined;
}

export interface SessionUser {
  /** What is to be sent to a new server before anything else, in order. Asked for at each reconnect. */
  again(): Iterable<NbdRequest>;
  /** Whether there is anything of that. */
  readonly hasAgain: boolean;
  /** The session has failed for good. Called once. */
  onFailure(error: UserError): void;
}

export class NbdSession {
  readonly traits: ExportTraits;
  readonly #target: NbdTarget;
  readonly #options: SessionOptions;
  readonly #closing = new AbortController();
  #user: SessionUser = { again: () => [], hasAgain: false, onFailure: () => undefined };
  #connection: NbdConnection | null = null;
  #recovery: Promise<NbdConnection> | null = null;
  #outage: Outage | null = null;
  #failure: UserError | null = null;

  private constructor(target: NbdTarget, options: SessionOptions, first: NbdConnection) {
    this.#target = target;
    this.#options = options;
    this.traits = first.negotiated.traits;
    this.#enter(first);
  }

  /** Connects once: only what was connected is looked for again. @throws as `connectTo`. */
  static async open(target: NbdTarget, options: SessionOptions): Promise<NbdSession> {
    const { signal = new AbortController().signal } = options;
    const first = await connectTo(target, { ...options, signal });
    return new NbdSession(target, options, first);
  }

  /** To be called before the first request that changes anything. */
  use(user: SessionUser): void {
    this.#user = user;
  }

  /** @throws AnsweredError; UserError, which made the session fail for good. */
  async request(request: NbdRequest): Promise<void> {
    for (let sent = 1; ; sent++) {
      const connection = this.#connection ?? (await this.#reconnected());
      try {
        await connection.send(request);
        this.#outage = null;
        return;
      } catch (error) {
        if (!(error instanceof ConnectionLost)) {
          this.#outage = null;
          throw error;
        }
        this.#leave(connection);
        // One request that kills every server that it is sent to would go on for ever: others are answered.
        if (sent > this.#options.reconnect.tries)
          throw this.#fail(error, `a request was sent ${times(sent)}`);
      }
    }
  }

  /** What is in flight is not waited for any more: it fails, for good, and what it was to change is in doubt. */
  cut(why: string): void {
    this.#closing.abort();
    this.#fail(lost(this.#target, why), 'it was closed with requests in flight');
    this.#connection?.destroy(why);
  }

  /** Nothing may be in flight. */
  async close(): Promise<void> {
    this.#closing.abort();
    // What it fails with is of no more interest: nobody waits for it, and what is in doubt stays told.
    await this.#recovery?.catch(() => undefined);
    const connection = this.#connection;
    this.#connection = null;
    await connection?.disconnect();
  }

  #enter(connection: NbdConnection): void {
    this.#connection = connection;
    // An error here would be a fault of ours that `#receive` has thrown: it is left to be seen.
    void connection.ended.then(() => this.#leave(connection));
  }

  /** The connection is no more. What is kept does not wait for the next request. */
  #leave(connection: NbdConnection): void {
    if (this.#connection !== connection) return;
    this.#connection = null;
    connection.destroy('it is no longer used');
    // Who asks for something next is told what went wrong.
    if (this.#user.hasAgain) this.#reconnected().catch(() => undefined);
  }

  #reconnected(): Promise<NbdConnection> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    this.#recovery ??= this.#recover().finally(() => {
      this.#recovery = null;
    });
    return this.#recovery;
  }

  async #recover(): Promise<NbdConnection> {
    this.#outage ??= new Outage(this.#options.reconnect);
    let last: Error = lost(this.#target, 'the connection was lost');
    while (!this.#outage.isOver) {
      try {
        await this.#outage.nextTry(this.#closing.signal);
        return await this.#tryAgain(this.#outage);
      } catch (error) {
        if (this.#closing.signal.aborted) throw this.#failure ?? error;
        if (!(error instanceof ConnectionLost)) throw this.#fail(error, 'the server came back as another');
        last = error;
      }
    }
    throw this.#fail(
      last,
      `the connection was lost and not found again in ${times(this.#outage.tried, 'try')}`,
    );
  }

  async #tryAgain(outage: Outage): Promise<NbdConnection> {
    const { signal } = this.#closing;
    const timeoutMs = Math.max(1, Math.min(this.#options.timeoutMs, outage.leftMs));
    const connection = await connectTo(this.#target, { ...this.#options, timeoutMs, signal });
    const aborted = () => connection.destroy('it is closed');
    signal.addEventListener('abort', aborted);
    try {
      const changed = whatChanged(this.traits, connection.negotiated.traits);
      if (changed !== null)
        throw refusedBy(this.#target, 'REFUSED', `the export is not the same: ${changed}`);
      const hadAgain = this.#user.hasAgain;
      await sendAgain(connection, this.#user.again());
      if (hadAgain) this.#outage = null;
    } catch (error) {
      connection.destroy('it could not be used');
      throw error;
    } finally {
      signal.removeEventListener('abort', aborted);
    }
    this.#enter(connection);
    return connection;
  }

  /** Makes `cause` final, unless something is already, and gives what is. A fault of ours is thrown on. */
  #fail(cause: unknown, why: string): UserError {
    if (this.#failure !== null) return this.#failure;
    const isOurs = !(cause instanceof UserError || cause instanceof AnsweredError);
    if (isOurs) throw cause;
    const { name } = this.#target;
    const told = cause.message.startsWith(`${name}: `) ? cause.message.slice(name.length + 2) : cause.message;
    this.#failure = new UserError('IO_ERROR', `${name}: ${why} (${told})`, {
      hint: 'What was written since the last flush may be lost: open it again, and write those ranges anew.',
      details: { image: name },
      cause,
    });
    this.#user.onFailure(this.#failure);
    return this.#failure;
  }
}

function times(count: number, what: 'time' | 'try' = 'time'): string {
  const plural = what === 'try' ? 'tries' : 'times';
  return `${count} ${count === 1 ? what : plural}`;
}
