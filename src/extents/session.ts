/**
 * The client's session with its metadata server: who it is, its lease, and what it is told without asking. When the
 * lease has ended (paragraph 48), what was not hardened is gone and its extents may be others' already: every later call
 * fails at once.
 *
 * What completion leaves to be disassociated (paragraphs 35 and 38) is told with the next message that changes something,
 * right before it: the server takes messages in their order, and the two share a commit of its log. Nobody waits for it:
 * until then the extents are the client's all the same, and a crash frees them as it frees all that nobody goes on with.
 */
import { allEnded } from '../device/all-ended.js';
import { UserError } from '../errors.js';
import {
  type MetadataService,
  MOST_JOURNAL_AT_ONCE,
  type OpenedClient,
  type Replies,
  type RequestName,
  type RequestOf,
  type ServerEvent,
} from '../metadata/messages.js';

/** They change nothing: nothing that is owed goes with them. */
const QUESTIONS: ReadonlySet<RequestName> = new Set([
  'Read_Transaction',
  'List_Files',
  'Look_Up_File',
  'Map_Extents',
  'Renew_Lease',
  'Space',
]);

/** Timers count no further. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Session implements MetadataService {
  readonly #listeners = new Set<(event: ServerEvent) => void>();
  #ended: UserError | null = null;
  #stopTelling: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  /** Spent journal extents: done with, and associated still. */
  #owed: number[] = [];

  constructor(
    private readonly service: MetadataService,
    readonly client: string,
    private readonly warn: (message: string) => void,
  ) {}

  async open(): Promise<OpenedClient> {
    this.#stopTelling = this.service.subscribe(this.client, (event) => this.#told(event));
    const opened = await this.#openClient();
    this.#timer = setInterval(() => this.#renew(), renewMs(opened.leaseMs));
    this.#timer.unref();
    return opened;
  }

  get hasEnded(): boolean {
    return this.#ended !== null;
  }

  /** Throws what has ended it. */
  check(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  /** They are disassociated before the next message that changes something. */
  owe(extents: readonly number[]): void {
    this.#owed.push(...extents);
  }

  /** At once. */
  async disassociate(extents: readonly number[]): Promise<void> {
    const { client } = this;
    const told: Promise<unknown>[] = [];
    for (let at = 0; at < extents.length; at += MOST_JOURNAL_AT_ONCE) {
      const some = extents.slice(at, at + MOST_JOURNAL_AT_ONCE);
      told.push(this.#ask({ type: 'Disassociate_Journal_Extent', client, extents: some }));
    }
    await allEnded(told);
  }

  async request<N extends RequestName>(message: { readonly type: N } & RequestOf<N>): Promise<Replies[N]> {
    const { type } = message;
    if (QUESTIONS.has(type) || this.#owed.length === 0) return this.#ask(message);
    const owed = this.disassociate(this.#owed.splice(0));
    // In one turn: they are in their order, and in one group.
    const [told, reply] = await Promise.allSettled([owed, this.#ask(message)]);
    if (reply.status === 'rejected') throw reply.reason;
    if (told.status === 'rejected') throw told.reason;
    return reply.value;
  }

  async #ask<N extends RequestName>(message: { readonly type: N } & RequestOf<N>): Promise<Replies[N]> {
    this.check();
    try {
      return await this.service.request(message);
    } catch (cause) {
      if (!(cause instanceof UserError) || cause.details.reason !== 'lease-ended') throw cause;
      throw this.#end();
    }
  }

  subscribe(_client: string, callback: (event: ServerEvent) => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** The client may come back: what it keeps at the server stays. */
  close(): void {
    this.#isClosed = true;
    this.#stopTelling?.();
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Who could not open is told of nothing any more. */
  async #openClient(): Promise<OpenedClient> {
    try {
      return await this.service.request({ type: 'Open_Client', client: this.client });
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  #told(event: ServerEvent): void {
    if (event.type === 'lease-ended') this.#end();
    for (const listener of this.#listeners) listener(event);
  }

  #end(): UserError {
    this.#ended ??= new UserError(
      'REFUSED',
      `the lease of client ${this.client} has ended: what it had not committed is gone`,
      {
        hint: 'Open the volume again: its files are as of their last commit.',
        details: { client: this.client, reason: 'lease-ended' },
      },
    );
    return this.#ended;
  }

  /** Fails where the server has died, say: whoever asks next is told of that, and the lease ends by itself. */
  #renew(): void {
    if (this.#ended !== null) return;
    this.request({ type: 'Renew_Lease', client: this.client }).catch((cause: unknown) => {
      if (this.#isClosed || this.#ended !== null) return;
      this.warn(`the lease of client ${this.client} could not be renewed: ${String(cause)}`);
    });
  }
}

function renewMs(leaseMs: number): number {
  return Math.min(LONGEST_TIMER_MS, Math.max(1, Math.floor(leaseMs / 3)));
}
