/**
 * The metadata server: one function, `request`, of typed messages (../messages.ts), over an engine that has all its
 * state. What is kept in memory is when leases end, who wants to be told, and which groups of the pool are full: the
 * first begins anew when the server opens (each client has a whole lease to come back in), the others are found again.
 *
 * Nothing here takes the time or waits for it: `nowMs` is given, and `endLeases` is called by whoever has a timer.
 */
import { UserError } from '../../errors.js';
import type { MetadataEngine } from '../engine/contract.js';
import {
  type MetadataService,
  REQUESTS,
  type Replies,
  type RequestName,
  type RequestOf,
  type ServerEvent,
} from '../messages.js';
import { openClient } from './clients.js';
import { endClient } from './ended-client.js';
import { readConfig } from './format.js';
import { Groups, type Session } from './groups.js';
import { HANDLERS, isAlone } from './handlers.js';
import { key, numberOf, under } from './keys.js';
import type { FullGroups } from './pool.js';
import { breach, refuse } from './refusals.js';
import { step } from './removal.js';
import { type Config, State, TRANSACTION_STATE } from './state.js';
import { Subscriptions } from './subscriptions.js';
import { takeBack } from './take-back.js';
import { type Caller, PART_BYTES, type Turn } from './turn.js';

export interface MetadataServerOptions {
  /** Milliseconds since 1970, or since anything: leases are counted with it, and files bear it. */
  readonly nowMs: () => number;
  /** How long a client that says nothing is taken for alive. */
  readonly leaseMs: number;
  /** A client has gone and left transactions: somebody is to take them over (completion.ts). */
  readonly onOrphans?: (transactions: readonly number[]) => void;
}

const DEFAULT_NAME = 'metadata server';

/** Prefixes of what goes on in the background. */
const BACKGROUND = new Set(['R', 'X', 'D', 'W'].map((prefix) => prefix.charCodeAt(0)));

export class MetadataServer implements MetadataService {
  readonly #config: Config;
  readonly #options: MetadataServerOptions;
  readonly #groups: Groups;
  readonly #subscriptions = new Subscriptions();
  readonly #full: FullGroups = new Set();
  /** When the lease of each client ends. */
  readonly #leases = new Map<number, number>();
  readonly #known = new Map<string, number>();
  #isClosed = false;

  private constructor(engine: MetadataEngine, config: Config, options: MetadataServerOptions) {
    this.#config = config;
    this.#options = options;
    this.#groups = new Groups(engine, {
      partBytes: PART_BYTES,
      onDropped: () => this.#full.clear(),
      startsBackground: (changes) => changes.some((one) => one.value !== null && BACKGROUND.has(one.key[0]!)),
      background: (session) => step(this.#turn(session)),
    });
  }

  /**
   * Takes back what was being put when it died; what was under way in the background goes on. Throws NOT_ASSEMBLED
   * where the engine has no metadata (format.ts makes them). The engine stays the caller's to close.
   */
  static async open(engine: MetadataEngine, options: MetadataServerOptions): Promise<MetadataServer> {
    const server = new MetadataServer(engine, await readConfig(engine), options);
    await server.#groups.run(true, (session) => server.#begin(server.#turn(session)));
    return server;
  }

  /** Throws what the message's own paragraph in ../messages.ts says; USAGE for what is no message. */
  async request<N extends RequestName>(message: { readonly type: N } & RequestOf<N>): Promise<Replies[N]> {
    if (this.#isClosed) throw refuse('IO_ERROR', `the ${DEFAULT_NAME} is closed`);
    const { type, ...rest } = message;
    const request = parse(type, rest);
    this.endLeases();
    // What counts is when it came, not when it is its turn.
    const client = this.#known.get(request.client);
    if (client !== undefined && this.#leases.has(client)) this.#renew(client);
    const run = (session: Session) => this.#handle(this.#turn(session), type, request);
    return (await this.#groups.run(isAlone(type, request), run)) as Replies[N];
  }

  subscribe(client: string, callback: (event: ServerEvent) => void): () => void {
    return this.#subscriptions.add(client, callback);
  }

  /** Ends the leases that are over. */
  endLeases(): void {
    const nowMs = this.#options.nowMs();
    for (const [client, endsMs] of this.#leases) {
      if (endsMs >= nowMs) continue;
      this.#leases.delete(client);
      // Its failure is the engine's, which every message from now on is told of.
      this.#groups
        .run(false, (session) => endClient(this.#turn(session), client))
        .catch(() => {
          this.#leases.set(client, endsMs);
        });
    }
  }

  /** When nothing is under way, also in the background. Throws what has stopped it. */
  settled(): Promise<void> {
    return this.#groups.idle();
  }

  /** Waits for what was asked. Locks, leases and journal extents stay what they are. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#groups.idle();
  }

  async #begin(turn: Turn): Promise<void> {
    const unsealed: { transaction: number; keepsFlags: boolean }[] = [];
    for await (const { transaction, record } of turn.state.transactions()) {
      if (record.state === TRANSACTION_STATE.sealed) continue;
      unsealed.push({ transaction, keepsFlags: record.state === TRANSACTION_STATE.putting });
    }
    for (const { transaction, keepsFlags } of unsealed) await takeBack(turn, transaction, { keepsFlags });
    for await (const entry of turn.state.draft.under(under(key('L')))) {
      const client = numberOf(entry.key, 0);
      this.#know(client, (await turn.state.nameOfClient(client))!);
    }
  }

  async #handle<N extends RequestName>(turn: Turn, type: N, request: RequestOf<N>): Promise<unknown> {
    const { leaseMs } = this.#options;
    if (type === 'Open_Client') {
      const { client, reply } = await openClient(turn, request.client, leaseMs);
      this.#know(client, request.client);
      return reply;
    }
    const caller = await this.#caller(turn.state, request.client);
    if (type === 'Renew_Lease') return { leaseMs };
    const handle = HANDLERS[type as keyof typeof HANDLERS] as (
      turn: Turn,
      caller: Caller,
      request: RequestOf<N>,
    ) => Promise<unknown>;
    return handle(turn, caller, request);
  }

  async #caller(state: State, name: string): Promise<Caller> {
    const found = await state.clientNamed(name);
    if (found === null || found.isEnding) {
      throw breach(`client ${name} is not open, or its lease has ended`, {
        client: name,
        reason: 'lease-ended',
      });
    }
    return { client: found.client, name };
  }

  #know(client: number, name: string): void {
    this.#known.set(name, client);
    this.#subscriptions.name(client, name);
    this.#renew(client);
  }

  #renew(client: number): void {
    this.#leases.set(client, this.#options.nowMs() + this.#options.leaseMs);
  }

  #turn({ draft, commitPart, afterwards }: Session): Turn {
    return {
      state: new State(draft, this.#config),
      full: this.#full,
      nowMs: this.#options.nowMs(),
      tell: (to, event) => afterwards(() => this.#subscriptions.tell(to, event)),
      orphaned: (transactions) => {
        if (transactions.length > 0) afterwards(() => this.#options.onOrphans?.(transactions));
      },
      commitPart,
    };
  }
}

function parse<N extends RequestName>(type: N, rest: unknown): RequestOf<N> {
  const schema = Object.hasOwn(REQUESTS, type) ? REQUESTS[type] : undefined;
  const parsed = schema?.safeParse(rest);
  if (parsed?.success) return parsed.data as RequestOf<N>;
  const why = parsed?.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  throw new UserError(
    'USAGE',
    `what came to the ${DEFAULT_NAME} is no ${String(type)}: ${why ?? 'not known'}`,
    {
      details: { fault: 'protocol' },
    },
  );
}
