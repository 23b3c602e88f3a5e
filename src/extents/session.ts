/**
 * The client's session with its metadata server: who it is, its lease, and what it is told without asking. When the
 * lease has ended (paragraph 48), what was not hardened is gone and its extents may be others' already: every later call
 * fails at once.
 */
import { UserError } from '../errors.js';
import type {
  MetadataService,
  OpenedClient,
  Replies,
  RequestName,
  RequestOf,
  ServerEvent,
} from '../metadata/messages.js';

/** Timers count no further. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Session implements MetadataService {
  readonly #listeners = new Set<(event: ServerEvent) => void>();
  #ended: UserError | null = null;
  #stopTelling: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(
    private readonly service: MetadataService,
    readonly client: string,
    private readonly warn: (message: string) => void,
  ) {}

  async open(): Promise<OpenedClient> {
    this.#stopTelling = this.service.subscribe(this.client, (event) => this.#told(event));
    const opened = await this.service.request({ type: 'Open_Client', client: this.client });
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

  async request<N extends RequestName>(message: { readonly type: N } & RequestOf<N>): Promise<Replies[N]> {
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
