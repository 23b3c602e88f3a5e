/**
 * One secondary, as the primary has it: connected or not, in sync or not (coordinated dirty block tracking, paragraphs 80 to
 * 86 and 93).
 *
 * States
 * - `unsynchronized`: it is away, or has just been lost; it is tried again, with longer and longer pauses.
 * - `resyncing`: dirty blocks are copied; what is written meanwhile is dirty.
 * - `in-sync`: what is written is queued and sent.
 * - `paused`: as unsynchronized, before it is started and until it is told to go on.
 * - `diverged`: it is not ours to write to any more: somebody promoted it.
 *
 * One that is *held* (the primary is no moment of anything) is unsynchronized, and not tried again. Paused and diverged ones stay so.
 *
 * From resyncing to in-sync is one turn of the loop, in which no block is dirty: what is written from then on is queued. What
 * was copied is flushed on both sides before the secondary is told that it is whole, and only then the queue is sent: so it is
 * a moment of the primary, and after it those of the queue.
 */
import { allEnded } from '../device/all-ended.js';
import type { BlockDevice, Buffers } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { BlockRange } from './blocks.js';
import type { LossReason } from './contract.js';
import { describeLoss, isDiverged, messageOf } from './losses.js';
import type { ConnectedSecondary, ReplicaParts } from './replica-parts.js';
import { Resync, type ResyncProgress } from './resync/resync.js';
import type { Change } from './sending/changes.js';
import { Sending } from './sending/sending.js';
import type { ReplicaSettings } from './settings.js';
import { type ReplicaState, Standing } from './standing.js';
import type { Update } from './tracking/update-lists.js';

export class Replica {
  readonly #standing = new Standing();
  /** While it is resynced, what is read of the primary is copied too (paragraph 92). Until it is in sync. */
  copiesOnRead = false;
  readonly totals = { resyncs: 0, copiedBlocks: 0, copiedBytes: 0, losses: 0 };
  /** Not null: it is in sync. */
  #sending: Sending | null = null;
  #isWhole: boolean;
  #isPaused: boolean;
  #isClosed = false;
  /** It goes on when it is released. */
  #isAwaited = false;
  /** Of all that it does; aborted when it is closed or paused. */
  #life = new AbortController();
  #living: Promise<void> | null = null;
  #connected: ConnectedSecondary | null = null;
  /** That runs, or ran last. */
  #resync: Resync | null = null;
  /** The connection that there is, and its end. */
  #hangUp: (() => Promise<void>) | null = null;
  /** Since it was last reached. */
  #isLost = false;

  constructor(private readonly parts: ReplicaParts) {
    this.#isWhole = parts.isWhole;
    this.#isPaused = parts.isPaused;
    this.#standing.heldFor = parts.heldFor;
  }

  get name(): string {
    return this.parts.name;
  }

  get state(): ReplicaState {
    return this.#standing.state;
  }

  /** Why it is not in sync; null where it is. */
  get reason(): string | null {
    return this.#standing.reason;
  }

  /** Of the resync that runs: it does not get there by itself. */
  get isOutpaced(): boolean {
    return this.#resync?.isOutpaced ?? false;
  }

  /** Of the resync that runs, or ran last. */
  get resync(): ResyncProgress | null {
    return this.#resync?.progress ?? null;
  }

  get dirtyBlocks(): number {
    return this.parts.tracking.map.count;
  }

  get queuedBytes(): number {
    return this.#sending?.heldBytes ?? 0;
  }

  /** Reached, and to be read; null: it is away. */
  get secondary(): BlockDevice | null {
    return this.#connected?.device ?? null;
  }

  get settings(): ReplicaSettings {
    return this.parts.settings;
  }

  get isHeld(): boolean {
    return this.#standing.heldFor !== null;
  }

  /** False: it is paused, or held. */
  start(): boolean {
    const { heldFor } = this.#standing;
    if (heldFor !== null && !this.#isPaused) {
      this.#isAwaited = true;
      this.#become('unsynchronized', heldFor);
      return false;
    }
    if (this.#living !== null) return true;
    if (this.#isClosed) return false;
    if (this.#isPaused) {
      this.#become('paused', 'paused');
      return false;
    }
    // Nobody is told: one that is about to be reached is not away.
    this.#standing.become('unsynchronized', 'it has not been reached yet');
    this.#life = new AbortController();
    // Why it was lost before is not why it cannot be reached from now on.
    this.#isLost = false;
    this.#standing.begins();
    // It ends by itself where nothing can go on: then it may be started again.
    const living = this.#live(this.#life.signal).finally(() => {
      if (this.#living === living) this.#living = null;
    });
    this.#living = living;
    return true;
  }

  /** In the turn in which the write ended on the primary. Its position, or null: it is dirty, and not sent. */
  enqueue(update: Update, change: Change, stamp: number): number | null {
    const { tracking, tracker } = this.parts;
    if (tracking.mode !== 'listed' || this.#sending === null) return null;
    const position = this.#sending.push(update, change, stamp);
    if (position === null) this.#lose(tracker.lose(tracking, 'queue-full', null));
    return position;
  }

  /** As `enqueue`, of changes that no epoch may part: all of them are queued, or none. */
  enqueueBatch(updates: readonly Update[], changes: readonly Change[], stamp: number): void {
    const { tracking, tracker } = this.parts;
    if (tracking.mode !== 'listed' || this.#sending === null) return;
    if (this.#sending.pushBatch(updates, changes, stamp) === null)
      this.#lose(tracker.lose(tracking, 'queue-full', null));
  }

  /** Ends when all that was queued up to there is durable. Throws where it was lost before. */
  async durable(position: number): Promise<void> {
    if (this.#sending === null) throw this.#wasLost();
    await this.#sending.durable(position);
  }

  primaryFlushed(): void {
    this.#sending?.primaryFlushed();
  }

  /** Ends when all that was queued by now is durable. */
  async drained(): Promise<void> {
    if (this.state === 'in-sync') await this.#sending?.drained();
  }

  /** As `drained`; and what of that the primary has flushed is clean. */
  async cleaned(): Promise<void> {
    if (this.state === 'in-sync') await this.#sending?.cleaned();
  }

  /** What was queued is dropped, and is dirty. In the turn in which the tracker changes its mode. */
  lost(reason: LossReason, cause: unknown): void {
    const sending = this.#sending;
    this.#sending = null;
    this.#isLost = true;
    this.totals.losses += 1;
    this.#become('unsynchronized', describeLoss(reason, cause));
    // Who waits for it finds it lost.
    sending?.stop(cause ?? this.#wasLost());
    // What does not answer ends so.
    void this.#hangUp?.();
  }

  /** To be asked now and then: acknowledgements that are late are none. */
  checkDeadline(): void {
    const { tracker, tracking } = this.parts;
    const isResyncLate = this.state === 'resyncing' && this.#resync?.isLate === true;
    if (!isResyncLate && this.#sending?.isLate !== true) return;
    if (tracking.mode === 'mapped') this.lost('late', null);
    else this.#lose(tracker.lose(tracking, 'late', null));
  }

  /** Whole blocks that somebody reads, in the turn in which that begins. See Sweep. */
  carry(range: BlockRange, offset: number, reading: Promise<void>, into: Buffers): void {
    if (this.copiesOnRead) this.#resync?.carry(range, offset, reading, into);
  }

  isDirty(range: BlockRange): boolean {
    return this.parts.tracking.map.meets(range);
  }

  /** Ends when it is in sync, or an attempt at that has failed; no later than that, in ms. */
  attempted(mostMs?: number): Promise<void> {
    return this.#standing.attempted(this.settings.clock, mostMs);
  }

  /** Ends when it has been reached, or an attempt at that has failed: then it is known what becomes of writes. */
  firstContact(): Promise<void> {
    return this.#standing.firstContact();
  }

  /** Ends in sync, or in another state in which nothing goes on by itself. */
  settled(): Promise<void> {
    return this.#standing.settled();
  }

  /** They are to be copied again, whatever is known of them; a resync does it. */
  async copyAgain(ranges: readonly BlockRange[]): Promise<void> {
    const { tracker, tracking } = this.parts;
    // First, in the same turn: what is acknowledged from now on makes none of them clean.
    const losing = tracker.lose(tracking, 'repair', null);
    for (const range of ranges) tracking.mark(range);
    await allEnded([losing, tracking.file.persist(ranges)]);
  }

  /** When it returns nothing more is sent. See Replication. */
  async hold(reason: string): Promise<void> {
    this.#standing.heldFor = reason;
    this.#isAwaited ||= this.#living !== null;
    await this.#end('held');
    if (this.#isAwaited) this.#become('unsynchronized', reason);
  }

  /** True: it is to be started. */
  release(): boolean {
    const isAwaited = this.#isAwaited;
    this.#standing.heldFor = null;
    this.#isAwaited = false;
    return isAwaited;
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    this.#isAwaited = false;
    await this.#end('paused');
    this.#become('paused', 'paused');
  }

  /** It may be started. */
  resume(): void {
    this.#isPaused = false;
  }

  /** What is queued is sent, if it can be; then nothing goes on. */
  async close(): Promise<void> {
    this.#isClosed = true;
    // Where it is lost meanwhile, what was queued is dirty.
    await this.cleaned().catch(() => {});
    await this.#end('paused');
  }

  #wasLost(): UserError {
    return new UserError('IO_ERROR', `replica ${this.name} was lost: ${this.reason}`, {
      details: { replica: this.name },
    });
  }

  async #end(reason: LossReason): Promise<void> {
    this.#life.abort();
    try {
      await this.parts.tracker.lose(this.parts.tracking, reason, null);
    } finally {
      void this.#hangUp?.();
      await this.#living;
      this.#living = null;
    }
  }

  async #live(signal: AbortSignal): Promise<void> {
    const { settings, tracking } = this.parts;
    let retryMs = settings.retryMs;
    while (!signal.aborted) {
      try {
        // Its whole map is durable before it changes again.
        await tracking.losing;
        const stuck = this.#stuck();
        if (stuck !== null) {
          this.#standing.isStuck = true;
          this.#become('unsynchronized', stuck);
          return;
        }
        const connected = await this.#reach(signal);
        const sending = await this.#resynced(connected, signal);
        retryMs = settings.retryMs;
        await sending.run();
      } catch (cause) {
        await this.#failed(cause, signal);
      } finally {
        this.#connected = null;
        await this.#hangUp?.();
        this.#hangUp = null;
      }
      if (signal.aborted || this.state === 'diverged') return;
      await settings.clock.wait(retryMs, signal);
      retryMs = Math.min(settings.longestRetryMs, 2 * retryMs);
    }
  }

  /** Why there is no use in trying again before the volume is opened anew; null: there is. */
  #stuck(): string | null {
    const { tracker, tracking } = this.parts;
    const { logFailure } = tracker;
    const { mapFailure } = tracking;
    if (logFailure !== null) return `the transaction log cannot be written: ${messageOf(logFailure.cause)}`;
    if (mapFailure !== null) return `its map cannot be written: ${messageOf(mapFailure.cause)}`;
    return null;
  }

  async #reach(signal: AbortSignal): Promise<ConnectedSecondary> {
    const connected = await this.parts.connect(signal);
    let closing: Promise<void> | null = null;
    this.#hangUp = () => {
      closing ??= connected
        .close()
        .catch((cause: unknown) => this.parts.warn(`${this.name}: ${messageOf(cause)}`));
      return closing;
    };
    this.#isLost = false;
    this.#standing.begins();
    this.#connected = connected;
    signal.throwIfAborted();
    return connected;
  }

  /** In sync, or lost since, when it returns. */
  async #resynced(connected: ConnectedSecondary, signal: AbortSignal): Promise<Sending> {
    const { tracker, tracking, primary, flushes, settings } = this.parts;
    const isNeeded = !this.#isWhole || !tracking.map.isEmpty;
    const { device: secondary, epochBytes } = connected;
    const flushPrimary = () => flushes.flush();
    const resync = new Resync({ tracker, tracking, primary, secondary, flushPrimary, epochBytes }, settings);
    if (isNeeded) {
      this.#resync = resync;
      this.#become('resyncing', `${tracking.map.count} blocks differ`);
      await resync.asking(() => connected.beginResync());
      this.#isWhole = false;
    }
    let sending: Sending | null = null;
    await resync.run(signal, () => {
      tracker.synchronized(tracking);
      sending = this.#beginSending(connected);
      this.copiesOnRead = false;
      if (!isNeeded) this.#become('in-sync', null);
    });
    if (isNeeded) await this.#settle(resync, connected);
    return sending!;
  }

  /** In the turn in which nothing is left to copy: from now on what is written is queued. It is sent when `run` is called. */
  #beginSending({ device, epochBytes }: ConnectedSecondary): Sending {
    const { tracker, tracking, flushes, settings, warn } = this.parts;
    this.#sending = new Sending({
      ...{ tracking, flushes, device, epochBytes, settings, warn },
      onFailed: (cause) => this.#lose(tracker.lose(tracking, 'secondary-failed', cause)),
    });
    return this.#sending;
  }

  /** It is a moment of the primary; also where it was lost in the meantime, since nothing was sent since. */
  async #settle(resync: Resync, connected: ConnectedSecondary): Promise<void> {
    await resync.settle();
    await resync.asking(() => connected.endResync());
    const { copiedBlocks, copiedBytes } = resync.progress;
    this.#isWhole = true;
    this.totals.resyncs += 1;
    this.totals.copiedBlocks += copiedBlocks;
    this.totals.copiedBytes += copiedBytes;
    if (this.parts.tracking.mode === 'listed') this.#become('in-sync', null);
  }

  async #failed(cause: unknown, signal: AbortSignal): Promise<void> {
    const { tracker, tracking } = this.parts;
    const wasLost = this.#isLost;
    this.#standing.attemptFailed();
    // Its own failure is told where it is waited for, and keeps a resync from beginning.
    await tracker.lose(tracking, 'secondary-failed', cause).catch(() => {});
    if (isDiverged(cause)) this.#become('diverged', messageOf(cause));
    // Why it was lost is said already, and what failed since may be its consequence.
    else if (!signal.aborted) this.#become('unsynchronized', wasLost ? this.reason : messageOf(cause));
  }

  #become(state: ReplicaState, reason: string | null): void {
    this.#standing.become(state, reason);
    this.parts.onStanding?.(state);
  }

  /** Nobody waits for it here: what goes wrong is told, and its map says what is dirty. */
  #lose(losing: Promise<void>): void {
    losing.catch((cause: unknown) => this.parts.warn(`${this.name}: ${messageOf(cause)}`));
  }
}
