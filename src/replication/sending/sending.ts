/**
 * A secondary in sync: what is written is queued for it, sent, acknowledged, and clean when both sides have it (coordinated dirty
 * block tracking, figure 4). It begins in the turn in which a resync has nothing left to copy, and is over when the secondary is
 * lost: what is acknowledged after that makes nothing clean.
 */
import type { BlockDevice } from '../../device/contract.js';
import type { BlockRange } from '../blocks.js';
import { messageOf } from '../losses.js';
import type { ReplicaSettings } from '../settings.js';
import type { SecondaryTracking } from '../tracking/secondary-tracking.js';
import type { Update } from '../tracking/update-lists.js';
import { Acknowledged } from './acknowledged.js';
import type { Change } from './changes.js';
import type { PrimaryFlushes } from './primary-flushes.js';
import { ReplicaQueue } from './queue.js';
import { Sender } from './sender.js';

/** Updates that wait for the primary's flush alone. */
const MOST_WAITING = 256;

export interface SendingParts {
  readonly tracking: SecondaryTracking;
  readonly flushes: PrimaryFlushes;
  readonly device: BlockDevice;
  /** The secondary takes no longer epochs. */
  readonly epochBytes: number;
  readonly settings: ReplicaSettings;
  /** Once, and not when it was stopped; before those who wait are told. */
  readonly onFailed: (cause: unknown) => void;
  readonly warn: (message: string) => void;
}

export class Sending {
  readonly #queue: ReplicaQueue;
  readonly #sender: Sender;
  readonly #acknowledged: Acknowledged;
  #isOver = false;
  #releasing: Promise<void> | null = null;
  /** Since then something waits for it. */
  #mustRelease = false;

  /** Nothing is sent before `run`. */
  constructor(private readonly parts: SendingParts) {
    const { tracking, device, epochBytes, settings, onFailed } = parts;
    this.#acknowledged = new Acknowledged(tracking, (stamp, range) => this.#isReady(stamp, range));
    this.#queue = new ReplicaQueue(settings.queue);
    this.#sender = new Sender(device, this.#queue, {
      ...{ inFlight: settings.inFlight, epochBytes, idleMs: settings.idleMs, onFailed },
      onDurable: (changes) => {
        this.#acknowledged.add(changes);
        this.#resetReady();
      },
    });
  }

  get heldBytes(): number {
    return this.#queue.heldBytes;
  }

  /** Ends, with an error, when it is over. */
  run(): Promise<void> {
    return this.#sender.run();
  }

  /** Its position, or null: the queue is full. */
  push({ sequence }: Update, change: Change, stamp: number): number | null {
    const atMs = this.parts.settings.clock.nowMs();
    const position = this.#queue.push({ sequence, change, stamp, atMs });
    if (position !== null) this.#sender.kick();
    return position;
  }

  /** Of one batch, which reaches the secondary as a whole. The last position, or null: the queue has no room for all of it. */
  pushBatch(updates: readonly Update[], changes: readonly Change[], stamp: number): number | null {
    const atMs = this.parts.settings.clock.nowMs();
    const entries = changes.map((change, at) => ({ sequence: updates[at]!.sequence, change, stamp, atMs }));
    const position = this.#queue.pushBatch(entries);
    if (position !== null) this.#sender.kick();
    return position;
  }

  /** Ends when all that was queued up to there is durable. Throws where it is lost before. */
  durable(position: number): Promise<void> {
    return this.#sender.durable(position);
  }

  /** Ends when all that was queued by now is durable. */
  drained(): Promise<void> {
    return this.#sender.durable(this.#queue.last);
  }

  /** As `drained`; and what of that the primary has flushed is clean. */
  async cleaned(): Promise<void> {
    await this.drained();
    while (this.#releasing !== null) await this.#releasing;
  }

  /** The primary was flushed: what is durable on both sides is not dirty any more. What was queued is to follow soon. */
  primaryFlushed(): void {
    this.#resetReady();
    this.#sender.hurry(this.#queue.last);
  }

  /** Acknowledgements take longer than the limit: to be asked now and then. */
  get isLate(): boolean {
    const { clock, acknowledgeMs } = this.parts.settings;
    const sinceMs = this.#sender.waitsSinceMs;
    if (sinceMs === null) return false;
    const waitedMs = clock.nowMs() - sinceMs;
    // An epoch that goes on and on, because nobody waits for it, is late by nobody's fault.
    if (waitedMs >= acknowledgeMs / 2) this.#sender.hurry(this.#queue.last);
    return waitedMs >= acknowledgeMs;
  }

  /** What is queued is dropped, and those who wait are told why. */
  stop(cause: unknown): void {
    this.#isOver = true;
    this.#sender.stop(cause);
  }

  /** Both sides have flushed it (paragraph 75). */
  #resetReady(): void {
    if (this.#isOver) return;
    const { flushes, warn, tracking } = this.parts;
    this.#acknowledged.settle();
    if (this.#mustRelease) this.#releasing ??= this.#release();
    if (this.#releasing !== null) return;
    // Nobody flushes the primary, and the log would fill up.
    if (this.#acknowledged.size < MOST_WAITING) return;
    flushes
      .flush()
      .catch((cause: unknown) =>
        warn(`${tracking.name}: the primary could not be flushed: ${messageOf(cause)}`),
      );
  }

  #isReady(stamp: number, range: BlockRange): boolean {
    const { flushes, tracking } = this.parts;
    if (!flushes.isDurable(stamp)) return false;
    if (tracking.uncopied?.isReleased(range) !== false) return true;
    this.#mustRelease = true;
    return false;
  }

  /** Of what was copied for the first time: all that waits by now at once. */
  async #release(): Promise<void> {
    this.#mustRelease = false;
    try {
      await this.parts.tracking.releaseUncopied();
    } catch (cause) {
      if (!this.#isOver) this.parts.onFailed(cause);
    }
    this.#releasing = null;
    this.#resetReady();
  }
}
