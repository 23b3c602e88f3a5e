/**
 * Dirty blocks on their way to the lower device: in the background when there are many, for a flush, for fua.
 *
 * Invariants
 * - A block is in flight at most once, and never while it is being filled or locked: writes below never
 *   overlap, and a newer version goes down only after the older one has landed.
 * - What fails to go down is dirty again, and not forgotten: the next flush tries it again and reports it.
 *   So an error in the background is reported by the flush that cannot put it right, as a disk does, and by
 *   the writers that wait for room.
 */
import { viewOf } from '../buffers.js';
import type { BatchDevice, BatchWrite, BlockDevice } from '../contract.js';
import type { BlockStore } from './block-store.js';
import { ByteCover } from './byte-cover.js';
import { CACHE_BLOCK_BYTES, type CacheBlock, type Flight, gate } from './cache-block.js';
import { type Fills, roundOut } from './fills.js';
import { Staging } from './staging.js';

export interface WriteBackLimits {
  /** Dirty blocks above which the background starts. */
  readonly startBlocks: number;
  /** Dirty blocks at which it stops. */
  readonly stopBlocks: number;
  /** Bytes of one batch, but always at least one stripe. */
  readonly batchBytes: number;
  readonly stripeBytes: number;
}

export interface WriteBackCounts {
  /** Batches, or rounds of writes for a device that takes none. */
  batches: number;
  /** Runs of bytes that lie together. */
  writes: number;
  bytes: number;
  /** Stripes that went down as a whole. */
  fullStripes: number;
}

/** Bytes that lie together, and the blocks that they come from. */
interface Run {
  readonly offset: number;
  end: number;
  readonly from: Uint8Array[];
  readonly blocks: CacheBlock[];
}

interface Failure {
  readonly cause: unknown;
}

interface Sent {
  /** The first, if there was one. */
  readonly failure: Failure | null;
  /** The blocks that were handed down, well or not. */
  readonly sent: readonly CacheBlock[];
}

export class WriteBack {
  readonly counts: WriteBackCounts = { batches: 0, writes: 0, bytes: 0, fullStripes: 0 };
  readonly #flights = new Set<Flight>();
  readonly #staging: Staging;
  #background: Promise<void> = Promise.resolve();
  #isRunning = false;
  /** The last attempt failed: the background tries again only when somebody waits for it. */
  #isStuck = false;

  constructor(
    private readonly lower: BlockDevice | BatchDevice,
    private readonly store: BlockStore,
    private readonly fills: Fills,
    private readonly limits: WriteBackLimits,
  ) {
    // The last stripe of a batch may begin where the batch is nearly full.
    this.#staging = new Staging(lower.name, limits.batchBytes + limits.stripeBytes);
  }

  /** Starts the background if there is reason to. To be called when blocks became dirty or an obstacle ended. */
  kick(): void {
    const { budget } = this.store;
    const isDue = budget.dirty > this.limits.startBlocks && !this.#isStuck;
    if (this.#isRunning || !(isDue || budget.hasWaitingWriters)) return;
    this.#isRunning = true;
    this.#background = this.#reduce();
  }

  /** Waits for the background, which must not be started any more. */
  async stopped(): Promise<void> {
    await this.#background;
    this.#staging.close();
  }

  /** Everything that is dirty now goes down; throws when some of it cannot. */
  async drain(): Promise<void> {
    const since = this.store.writes;
    for (;;) {
      const blocks = this.store.stripes.pick(this.limits.batchBytes, since, (block) => this.#canGo(block));
      if (blocks.length > 0) {
        const { failure } = await this.#send(blocks, false);
        if (failure !== null) throw failure.cause;
        continue;
      }
      const waits = [...this.#flights].filter((flight) => flight.since <= since).map(({ landed }) => landed);
      for (const block of this.store.stripes.dueBlocks(since)) waits.push(this.#obstacle(block)!);
      if (waits.length === 0) return;
      await Promise.all(waits);
    }
  }

  /**
   * Makes blocks that were just written to durable by fua. `isMine` tells whether what was written to a block
   * is still dirty in it. False: some of it went down another way meanwhile, and only a flush makes that
   * durable.
   */
  async writeThrough(indexes: readonly number[], isMine: (block: CacheBlock) => boolean): Promise<boolean> {
    let left = indexes;
    let isDurable = true;
    while (left.length > 0) {
      const blocks = left.flatMap((index) => this.store.get(index) ?? []);
      // A block that is gone was evicted, thus it is below.
      if (blocks.length < left.length) isDurable = false;
      const ready = blocks.filter((block) => this.#obstacle(block) === null);
      const going = ready.filter((block) => !block.dirty.isEmpty && isMine(block));
      if (going.length < ready.length) isDurable = false;
      const { failure, sent } = await this.#send(going, true);
      if (failure !== null) throw failure.cause;
      const rest = blocks.filter(
        (block) => !ready.includes(block) || (going.includes(block) && !sent.includes(block)),
      );
      await Promise.all(rest.map((block) => this.#obstacle(block)));
      left = rest.map(({ index }) => index);
    }
    return isDurable;
  }

  async #reduce(): Promise<void> {
    try {
      for (let blocks = this.#surplus(); blocks.length > 0; blocks = this.#surplus()) {
        const { failure } = await this.#send(blocks, false);
        if (failure !== null) return this.store.budget.refuseWriters(failure.cause);
      }
    } finally {
      // In the same step as the decision to stop, without an await between: a kick in between would be lost.
      this.#isRunning = false;
    }
  }

  /** What the background is to write back next; nothing when there is no need, or all has an obstacle. */
  #surplus(): CacheBlock[] {
    const { budget, stripes } = this.store;
    const surplus = budget.dirty - this.limits.stopBlocks;
    if (surplus <= 0 && !budget.hasWaitingWriters) return [];
    const bytes = Math.min(this.limits.batchBytes, Math.max(surplus, 1) * CACHE_BLOCK_BYTES);
    return stripes.pick(bytes, Number.POSITIVE_INFINITY, (block) => this.#canGo(block));
  }

  #obstacle(block: CacheBlock): Promise<void> | null {
    return block.obstacle ?? this.store.locks.obstacle(block.index);
  }

  #canGo(block: CacheBlock): boolean {
    return !block.dirty.isEmpty && this.#obstacle(block) === null;
  }

  /** Hands the blocks down, those of them that can go when it comes to it. */
  async #send(blocks: readonly CacheBlock[], fua: boolean): Promise<Sent> {
    const unfilled = await this.#roundOut(blocks);
    const sent = blocks.filter((block) => this.#canGo(block) && this.#missing(block) === null);
    if (sent.length === 0) return { failure: unfilled, sent };
    this.counts.fullStripes += this.store.stripes.countComplete(sent);
    const runs = this.#takeOff(sent);
    const failures = await this.#handDown(runs, fua);
    const failed = new Set(runs.flatMap((run, i) => (failures[i] === null ? [] : run.blocks)));
    for (const block of sent) this.#land(block, !failed.has(block));
    const failure = failures.find((each) => each !== null) ?? unfilled;
    this.#isStuck = failure !== null;
    this.kick();
    return { failure, sent };
  }

  /** A range of the block that the lower device's block size adds to the dirty ones, and that is not known. */
  #missing(block: CacheBlock): { start: number; end: number } | null {
    for (const range of block.dirty.list()) {
      const { from, to } = roundOut(range.start, range.end, this.lower.blockSize);
      if (!block.valid.covers(from, to)) return { start: from, end: to };
    }
    return null;
  }

  /** Reads what the blocks lack to go down. A block of which that fails stays dirty. */
  async #roundOut(blocks: readonly CacheBlock[]): Promise<Failure | null> {
    const outcomes = await Promise.allSettled(
      blocks.filter((block) => this.#missing(block) !== null).map((block) => this.#complete(block)),
    );
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    return failed === undefined ? null : { cause: failed.reason as unknown };
  }

  async #complete(block: CacheBlock): Promise<void> {
    for (let gap = this.#missing(block); gap !== null; gap = this.#missing(block)) {
      // Somebody else has taken it up meanwhile: then it goes down without us, or next time.
      if (!this.#canGo(block)) return;
      await this.fills.exactly({ block, ...gap });
    }
  }

  /** Puts the blocks in flight, and their dirty ranges into runs. Synchronous. */
  #takeOff(blocks: readonly CacheBlock[]): Run[] {
    const runs: Run[] = [];
    for (const block of blocks) {
      for (const range of block.dirty.list()) {
        const { from, to } = roundOut(range.start, range.end, this.lower.blockSize);
        append(runs, block, from, to);
      }
      const { opened, open } = gate();
      const since = this.store.stripes.unmark(block);
      block.flight = { frame: block.frame, ranges: block.dirty, since, landed: opened, land: open };
      block.dirty = new ByteCover(block.length);
      this.#flights.add(block.flight);
    }
    return runs;
  }

  /** Of each run its failure, or null. */
  async #handDown(runs: readonly Run[], fua: boolean): Promise<(Failure | null)[]> {
    this.counts.batches += 1;
    this.counts.writes += runs.length;
    for (const run of runs) this.counts.bytes += run.end - run.offset;
    const staged = this.#staging.stage(runs);
    try {
      return await this.#writeBelow(staged.runs, fua);
    } finally {
      staged.release();
    }
  }

  async #writeBelow(runs: readonly BatchWrite[], fua: boolean): Promise<(Failure | null)[]> {
    const { lower } = this;
    if (!fua && 'writeBatch' in lower) {
      try {
        await lower.writeBatch(runs);
        return runs.map(() => null);
      } catch (cause) {
        // Which of them arrived is not known: all are written again.
        return runs.map(() => ({ cause }));
      }
    }
    const outcomes = await Promise.allSettled(
      runs.map(({ offset, from }) => lower.write(offset, from, { fua })),
    );
    return outcomes.map((each) => (each.status === 'rejected' ? { cause: each.reason as unknown } : null));
  }

  #land(block: CacheBlock, isDown: boolean): void {
    const flight = block.flight!;
    const { budget, stripes } = this.store;
    block.flight = null;
    this.#flights.delete(flight);
    const isReplaced = flight.frame !== block.frame;
    if (isReplaced) budget.give([flight.frame]);
    if (!isDown) {
      block.dirty.addAll(flight.ranges);
      stripes.mark(block, flight.since);
    }
    // What was replaced counted by itself; what was not is clean now, or dirty as it was.
    if (isReplaced || isDown) budget.clean();
    this.store.settle(block);
    flight.land();
  }
}

function append(runs: Run[], block: CacheBlock, from: number, to: number): void {
  const bytes = viewOf(block.frame, from, to);
  const last = runs.at(-1);
  const offset = block.offset + from;
  if (last === undefined || last.end < offset) {
    runs.push({ offset, end: offset + bytes.byteLength, from: [bytes], blocks: [block] });
    return;
  }
  // Two dirty ranges of one block may round out to the same block of the lower device.
  const overlap = last.end - offset;
  if (bytes.byteLength > overlap) last.from.push(bytes.subarray(overlap));
  last.end = Math.max(last.end, offset + bytes.byteLength);
  last.blocks.push(block);
}
