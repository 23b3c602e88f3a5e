/**
 * Sends what is queued, in epochs (coordinated dirty block tracking, steps 424 and 430).
 *
 * Invariants
 * - An epoch is what was queued, up to some point, and nothing behind it: the secondary is flushed when all of it has been
 *   answered, and nothing of the next one is sent before. So what the secondary holds after any flush is a moment of the
 *   primary; and a server that loses what was not flushed loses nothing of an older epoch.
 * - No epoch ends amid a batch: one that does not fit into what is left of the epoch begins the next, and whoever waits for
 *   some of it waits for all. One that fits into none is a failure. A change alone is a batch that always fits into its own.
 * - Changes that overlap are never in flight together: the one that was queued later waits for the other.
 * - An acknowledgement is a flush's, never a write's: a reply says that the secondary has taken it, and it may lose it.
 *
 * A failure ends it for good. Whoever has it goes unsynchronized, and resync begins with a sender of its own.
 */
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { type BlockRange, blocksWithin } from '../blocks.js';
import { epochCost } from '../secondary/index.js';
import { apply, heldBytes, overlap } from './changes.js';
import type { QueuedChange, ReplicaQueue } from './queue.js';

/** What of a change is still needed when the secondary has taken it: its bytes are not. */
export interface SentChange {
  readonly sequence: number;
  readonly position: number;
  readonly range: BlockRange;
  readonly stamp: number;
  readonly atMs: number;
}

export interface SenderOptions {
  /** Requests in flight. */
  readonly inFlight: number;
  /** An epoch ends when it has so many bytes; one change may be longer. */
  readonly epochBytes: number;
  /** An epoch ends when nothing has come for so long, though nobody waits for it. */
  readonly idleMs: number;
  /** Durable on the secondary. Never for what comes in after `stop`. */
  readonly onDurable: (changes: readonly SentChange[]) => void;
  /** Once, and not when it was stopped; before those who wait are told. */
  readonly onFailed: (cause: unknown) => void;
}

export class Sender {
  readonly #inFlight = new Map<QueuedChange, Promise<void>>();
  /** Of the epoch that is being sent. */
  #epoch: SentChange[] = [];
  #epochBytes = 0;
  /** The end of the last batch of which something was sent: up to there nothing else comes between. */
  #batchEnd = 0;
  /** All up to here are to be durable, because somebody waits or the primary was flushed. */
  #wanted = 0;
  #durable = 0;
  #waiters: {
    readonly position: number;
    readonly resolve: () => void;
    readonly reject: (cause: unknown) => void;
  }[] = [];
  #wake: (() => void) | null = null;
  /** The step waits for an answer. */
  #answered: (() => void) | null = null;
  #failure: { readonly cause: unknown } | null = null;
  #isStopped = false;

  constructor(
    private readonly secondary: BlockDevice,
    private readonly queue: ReplicaQueue,
    private readonly options: SenderOptions,
  ) {}

  /** When what it has waited longest for was queued; null: nothing is on its way. */
  get waitsSinceMs(): number | null {
    return this.#epoch[0]?.atMs ?? this.queue.first?.atMs ?? null;
  }

  /** Something was queued. */
  kick(): void {
    this.#wake?.();
  }

  /** The epoch that has what was queued there is to end as soon as it can. */
  hurry(position: number): void {
    this.#wanted = Math.max(this.#wanted, position);
    this.kick();
  }

  /** Ends when all up to this position is durable on the secondary. Rejects where that does not come. */
  durable(position: number): Promise<void> {
    if (position <= this.#durable) return Promise.resolve();
    if (this.#failure !== null) return Promise.reject(this.#failure.cause);
    this.hurry(position);
    return new Promise((resolve, reject) => this.#waiters.push({ position, resolve, reject }));
  }

  /** What is on its way is waited for by `run`, which ends. */
  stop(cause: unknown): void {
    this.#isStopped = true;
    this.#fail(cause);
    this.kick();
  }

  /** Until it is stopped. Throws what the secondary failed with. */
  async run(): Promise<void> {
    try {
      while (!this.#isStopped) await this.#step();
    } catch (cause) {
      this.#fail(cause);
      throw cause;
    } finally {
      await Promise.allSettled(this.#inFlight.values());
    }
  }

  async #step(): Promise<void> {
    this.#throwIfFailed();
    const { first } = this.queue;
    if (first === null) return this.#isDue ? this.#endEpoch() : this.#sleep();
    if (this.#mustBegin(first)) return this.#endEpoch();
    if (this.#inFlight.size >= this.options.inFlight || this.#meets(first)) return this.#oneAnswered();
    this.#send(this.queue.take());
    if (first.position === first.batchEnd && first.position >= this.#wanted && this.#isDue)
      await this.#endEpoch();
  }

  #meets({ change }: QueuedChange): boolean {
    for (const other of this.#inFlight.keys()) if (overlap(other.change, change)) return true;
    return false;
  }

  /** One for whichever it is: a race of all in flight would leave something behind in each of them, each time. */
  #oneAnswered(): Promise<void> {
    return new Promise((resolve) => {
      this.#answered = resolve;
    });
  }

  /** Somebody waits for something that is in the epoch. */
  get #isDue(): boolean {
    return this.#epoch.length > 0 && this.#wanted > this.#durable;
  }

  /** It does not fit into what is left of the epoch: it is to begin the next one. */
  #mustBegin({ position, batchEnd, batchCost }: QueuedChange): boolean {
    // Amid a batch: there was room for all of it.
    if (position <= this.#batchEnd) return false;
    const { epochBytes } = this.options;
    if (this.#epochBytes + batchCost + epochCost(0) <= epochBytes) return false;
    if (this.#epoch.length > 0) return true;
    if (position < batchEnd) throw batchTooLong(batchCost + epochCost(0), epochBytes);
    return false;
  }

  #send(entry: QueuedChange): void {
    const { sequence, position, stamp, atMs, change } = entry;
    this.#batchEnd = entry.batchEnd;
    this.#epoch.push({
      ...{ sequence, position, stamp, atMs },
      range: blocksWithin(change.offset, change.length),
    });
    this.#epochBytes += epochCost(heldBytes(entry.change));
    const sent = apply(this.secondary, entry.change).finally(() => {
      this.#inFlight.delete(entry);
      this.queue.release(entry);
    });
    // The end of the epoch finds out, or the next step that waits.
    void sent.catch((cause: unknown) => this.#fail(cause)).then(() => this.#answered?.());
    this.#inFlight.set(entry, sent);
  }

  async #endEpoch(): Promise<void> {
    await Promise.all(this.#inFlight.values());
    this.#throwIfFailed();
    await this.secondary.flush();
    // What was lost meanwhile is dirty, whoever has it.
    this.#throwIfFailed();
    const entries = this.#epoch;
    this.#epoch = [];
    this.#epochBytes = 0;
    this.#durable = entries.at(-1)!.position;
    this.options.onDurable(entries);
    this.#tell();
  }

  #tell(): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter(({ position }) => position > this.#durable);
    for (const { position, resolve } of waiters) if (position <= this.#durable) resolve();
  }

  /** Until something comes; or ends the epoch when nothing has come for a while. */
  async #sleep(): Promise<void> {
    let timer: NodeJS.Timeout | null = null;
    const isIdle = await new Promise<boolean>((resolve) => {
      this.#wake = () => resolve(false);
      if (this.#epoch.length > 0) timer = setTimeout(() => resolve(true), this.options.idleMs);
    });
    this.#wake = null;
    if (timer !== null) clearTimeout(timer);
    if (isIdle && !this.#isStopped) await this.#endEpoch();
  }

  #throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure.cause;
  }

  #fail(cause: unknown): void {
    if (this.#failure !== null) return;
    this.#failure = { cause };
    if (!this.#isStopped) this.options.onFailed(cause);
    for (const { reject } of this.#waiters.splice(0)) reject(cause);
    this.kick();
  }
}

function batchTooLong(bytes: number, epochBytes: number): UserError {
  return new UserError(
    'REFUSED',
    `what is to reach it as a whole has ${bytes} bytes, and it takes epochs of ${epochBytes} bytes`,
    { hint: 'Give that secondary a longer epoch log.', details: { bytes, epochBytes } },
  );
}
