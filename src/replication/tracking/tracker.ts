/**
 * What of the primary may differ from its secondaries, at every moment and after every crash (coordinated dirty block tracking,
 * figures 4 to 6). It has no data and no connection: it says when a write may go down.
 *
 * A write, in this order:
 * 1. its blocks are dirty in memory, for each secondary (steps 416 and 418);
 * 2. they are durable in the log (step 414), and in the map on disk of each secondary that is not in sync (paragraph 98);
 *    both at once: neither needs the other;
 * 3. its data goes down (step 420).
 * So a crash at any moment finds every block whose data may have changed. The document writes the log's record before 1. Nothing
 * of 1 outlives a crash; here it comes first because it is what goes to disk for a secondary that is lost meanwhile.
 *
 * A secondary that is lost (figure 6): its mode changes in one turn, so that writes from then on are durable in its map first;
 * then all of its map goes to disk (step 620), and only then its blocks leave the log (steps 630 to 680).
 */
import { allEnded } from '../../device/all-ended.js';
import { type BlockRange, overlap } from '../blocks.js';
import type { BlockMapFile, LossReason, TransactionLogFace } from '../contract.js';
import { BlockCounts } from './block-counts.js';
import { ExpectedBlocks } from './expected-blocks.js';
import { ListedBlocks } from './listed-blocks.js';
import { SecondaryTracking } from './secondary-tracking.js';
import type { Update } from './update-lists.js';

export interface TrackerParts {
  readonly log: TransactionLogFace;
  /** The log is full: what both sides may have soon is waited for, for a bounded time, and reset. */
  readonly relieve: () => Promise<void>;
  /** Its queue is to be dropped; in the turn in which its mode changes. */
  readonly onLost: (secondary: SecondaryTracking, reason: LossReason, cause: unknown) => void;
  /** Its map could not be written down: all of it counts as dirty, durably, when this returns. */
  readonly onMapFailed: (secondary: SecondaryTracking, cause: unknown) => Promise<void>;
}

/** An update, as it comes. */
export interface TrackedUpdate extends Update {
  /** The blocks that it fills: of the others the secondary gets a part, and may never have got the rest. */
  readonly filled: BlockRange;
}

/** A part of the device that is being copied to a secondary: nobody writes to it while it is read. */
interface Copying {
  readonly range: BlockRange;
  readonly read: Promise<void>;
}

export interface Watch {
  readonly range: BlockRange;
  isTouched: boolean;
}

export class Tracker {
  readonly secondaries = new Set<SecondaryTracking>();
  /** Writes that are under way, from before their blocks are dirty until their data is down. */
  readonly writing = new BlockCounts();
  readonly #listed: ListedBlocks;
  readonly #copying = new Set<Copying>();
  readonly #watches = new Set<Watch>();
  /** Writes wait for these before anything else: a resync that comes to its end holds them back. */
  readonly gates = new Set<() => Promise<void>>();
  /** The log takes nothing any more: until it is opened again, nobody can be in sync. */
  logFailure: { readonly cause: unknown } | null = null;
  #relieving: Promise<void> | null = null;
  readonly #expected: ExpectedBlocks;
  #sequence = 0;

  constructor(private readonly parts: TrackerParts) {
    this.#listed = new ListedBlocks(parts.log);
    this.#expected = new ExpectedBlocks(Number.MAX_SAFE_INTEGER, (range) => this.#unlist(range));
  }

  /**
   * What an opening found in the log is dirty for every secondary. When it returns, their maps on disk have it, and it is
   * DONE.
   */
  async recover(
    active: readonly { readonly transaction: number; readonly ranges: readonly BlockRange[] }[],
  ): Promise<void> {
    const ranges = active.flatMap((one) => one.ranges);
    for (const { map } of this.secondaries) for (const range of ranges) map.set(range);
    await allEnded([...this.secondaries].map((secondary) => this.#persist(secondary, ranges)));
    for (const { transaction } of active) this.parts.log.done(transaction);
  }

  /** Writes that are under way were not told of it: what they change is dirty for it. */
  add(name: string, file: BlockMapFile): SecondaryTracking {
    const secondary = new SecondaryTracking(name, file, (range) => this.#unlist(range));
    for (const range of this.writing.runs()) secondary.mark(range);
    this.secondaries.add(secondary);
    return secondary;
  }

  /** It is no concern of the log's any more. */
  remove(secondary: SecondaryTracking): void {
    this.secondaries.delete(secondary);
    this.#leansNoMore(secondary);
  }

  /** Updates of these ranges, in the order in which they are to be sent; `filled` has of each the blocks that it fills. */
  updates(ranges: readonly BlockRange[], filled: readonly BlockRange[] = ranges): TrackedUpdate[] {
    return ranges.map((range, at) => {
      this.#sequence += 1;
      return { sequence: this.#sequence, range, filled: filled[at]! };
    });
  }

  /** They are written soon. See ExpectedBlocks. */
  expect(range: BlockRange): void {
    this.#expected.expect(range);
  }

  /** What nobody has written is taken off the log. */
  dropExpected(): void {
    this.#expected.dropAll();
  }

  /** `body` writes the data. What fails leaves its blocks dirty: nobody knows what of it is on the primary. */
  async write<T>(updates: readonly TrackedUpdate[], body: () => Promise<T>): Promise<T> {
    for (const gate of this.gates) await gate();
    // Nothing is awaited between the last look and the marks: else a copy could begin there.
    for (let met = this.#copied(updates); met !== null; met = this.#copied(updates)) await met;
    for (const { range } of updates) {
      this.#expected.begun(range);
      this.writing.add(range);
      for (const watch of this.#watches) watch.isTouched ||= overlap(watch.range, range);
    }
    try {
      await this.#cover(updates);
      return await body();
    } catch (cause) {
      await this.#loseAll('primary-failed', cause);
      throw cause;
    } finally {
      for (const { range } of updates) this.writing.remove(range);
    }
  }

  /** Reads a range for a secondary while nobody writes to it. False: somebody does, and it was not read. */
  async copy(range: BlockRange, read: () => Promise<void>): Promise<boolean> {
    const [free] = this.writing.zeroWithin(range);
    if (free?.count !== range.count) return false;
    const copying = { range, read: read() };
    this.#copying.add(copying);
    try {
      await copying.read;
    } finally {
      this.#copying.delete(copying);
    }
    return true;
  }

  /** Notes whether somebody begins to write to it, until `unwatch`. */
  watch(range: BlockRange): Watch {
    const watch = { range, isTouched: false };
    this.#watches.add(watch);
    return watch;
  }

  unwatch(watch: Watch): void {
    this.#watches.delete(watch);
  }

  /** All of it was copied, and what is written from now on is sent. In the turn in which nothing is left to copy. */
  synchronized(secondary: SecondaryTracking): void {
    if (secondary.todo?.isEmpty !== true)
      throw new Error(`${secondary.name} is not in sync: blocks of it are dirty`);
    if (this.logFailure !== null) throw this.logFailure.cause;
    if (secondary.leansOnLog) throw new Error(`${secondary.name} is not written down yet`);
    secondary.mode = 'listed';
    secondary.leansOnLog = true;
  }

  /** Ends when the log is not needed for it any more; whoever comes later waits for the same. Before that no resync begins. */
  lose(secondary: SecondaryTracking, reason: LossReason, cause: unknown): Promise<void> {
    if (secondary.mode === 'mapped' && !secondary.isLossStuck) return secondary.losing;
    if (secondary.mode === 'listed') {
      secondary.lose();
      this.parts.onLost(secondary, reason, cause);
    }
    secondary.losing = this.#writeDown(secondary);
    // Each of those who wait is told.
    secondary.losing.catch(() => {});
    return secondary.losing;
  }

  /** Steps 620 to 680. */
  async #writeDown(secondary: SecondaryTracking): Promise<void> {
    secondary.isLossStuck = false;
    try {
      await this.#persist(secondary, [secondary.everything]);
    } catch (cause) {
      // Whoever needs it next tries again: a disk that was full may have room.
      secondary.isLossStuck = true;
      throw cause;
    }
    this.#leansNoMore(secondary);
  }

  #leansNoMore(secondary: SecondaryTracking): void {
    secondary.leansOnLog = false;
    for (const range of secondary.map.runs()) this.#unlist(range);
    if (this.#leaning().length === 0) this.dropExpected();
  }

  /** null: nothing of them is being copied. */
  #copied(updates: readonly Update[]): Promise<void> | null {
    const met = [...this.#copying].find((copying) =>
      updates.some(({ range }) => overlap(range, copying.range)),
    );
    // Who copies is told by its own promise where that fails.
    return met?.read.catch(() => {}) ?? null;
  }

  /** Steps 414 to 418. */
  async #cover(updates: readonly TrackedUpdate[]): Promise<void> {
    const ranges = updates.map(({ range }) => range);
    const durable: Promise<void>[] = [];
    for (const secondary of this.secondaries) {
      if (secondary.mode === 'listed') {
        for (const { sequence, range } of updates) secondary.insert(sequence, range);
        continue;
      }
      for (const range of ranges) secondary.mark(range);
      durable.push(this.#persist(secondary, ranges));
    }
    durable.push(this.#list(ranges));
    await allEnded(durable);
    // Not before they are named: what is not is to be like the primary. One that is lost gets them by a resync.
    for (const { mode, uncopied } of this.secondaries)
      if (mode === 'listed') for (const { filled } of updates) uncopied?.copied(filled);
  }

  async #list(ranges: readonly BlockRange[]): Promise<void> {
    let isRelieved = false;
    while (this.#leaning().length > 0) {
      try {
        if (await this.#listed.list(ranges, this.#expected.take())) return;
      } catch (cause) {
        this.logFailure ??= { cause };
        await this.#loseAll('log-failed', cause);
        return;
      }
      this.dropExpected();
      if (isRelieved) await this.#loseFurthestBehind();
      else await this.#relieve();
      isRelieved = true;
    }
  }

  /** One for all who find the log full at the same time. */
  #relieve(): Promise<void> {
    this.#relieving ??= this.parts.relieve().finally(() => {
      this.#relieving = null;
    });
    return this.#relieving;
  }

  #leaning(): SecondaryTracking[] {
    return [...this.secondaries].filter(({ leansOnLog }) => leansOnLog);
  }

  /** It is the one that the log is full of. One that is lost already is waited for. */
  async #loseFurthestBehind(): Promise<void> {
    const age = ({ mode, lists }: SecondaryTracking) =>
      mode === 'mapped' ? -1 : (lists.oldest ?? Number.POSITIVE_INFINITY);
    const [furthest] = this.#leaning().sort((a, b) => age(a) - age(b));
    if (furthest === undefined) return;
    await this.lose(furthest, 'log-full', null);
  }

  async #loseAll(reason: LossReason, cause: unknown): Promise<void> {
    await allEnded([...this.secondaries].map((secondary) => this.lose(secondary, reason, cause)));
  }

  async #persist(secondary: SecondaryTracking, ranges: readonly BlockRange[]): Promise<void> {
    try {
      await secondary.file.persist(ranges);
    } catch (cause) {
      secondary.mapFailure ??= { cause };
      await this.parts.onMapFailed(secondary, cause);
    }
  }

  /** Figure 5, for who has them clean or on disk: as far as no other one needs them. */
  #unlist(range: BlockRange): void {
    const others = this.#leaning();
    this.#listed.remove(range, (block) => others.some(({ map }) => map.has(block)));
  }
}
