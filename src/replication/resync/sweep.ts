/**
 * Sweep and copy (coordinated dirty block tracking, paragraphs 87, 92 to 94): the dirty blocks are copied to the secondary, and
 * nothing else, in sweeps over the map, while writes go on. A block that is written meanwhile is dirty again, and the next
 * sweep has it.
 *
 * Invariants
 * - A block is read while nobody writes to it, and is to be copied no more in the turn in which that begins.
 * - What was copied is *unsettled* until both sides have flushed it: its bits stay in the map, in memory and on disk. The
 *   primary too: what it has not flushed may be gone after a power cut, and the secondary has it.
 * - A block is on its way to the secondary once at a time: what overlaps need not arrive in order there.
 * - It ends in the turn in which no block is left to copy, none is on its way, and none failed. Whoever is told of it in that
 *   turn can have all that is written from then on.
 *
 * Copy on read (paragraphs 91 and 92): what users of the volume read of dirty blocks meanwhile is carried over with it, and
 * not read again.
 */
import { allEnded } from '../../device/all-ended.js';
import { copyOf, sliceBuffers } from '../../device/buffers.js';
import type { BlockDevice, Buffers } from '../../device/contract.js';
import { BLOCK_BYTES, type BlockRange, overlap } from '../blocks.js';
import { BlockMap } from '../map/block-map.js';
import type { SecondaryTracking } from '../tracking/secondary-tracking.js';
import type { Tracker } from '../tracking/tracker.js';
import type { Pace } from './pace.js';

/** What a sweep asks of a secondary. */
export type SweptDevice = Pick<BlockDevice, 'write' | 'writeZeroes' | 'flush'>;

export interface SweepParts {
  readonly tracker: Tracker;
  readonly tracking: SecondaryTracking;
  readonly primary: BlockDevice;
  readonly secondary: SweptDevice;
  readonly flushPrimary: () => Promise<void>;
  readonly pace: Pace;
  /** Something of it has been copied. */
  readonly onCopied: () => void;
}

export interface SweepSettings {
  /** Of one copy. */
  readonly pieceBytes: number;
  /** Copies in flight. */
  readonly inFlight: number;
  /** Both sides are flushed, and bits on disk go, when so much was copied. */
  readonly settleBytes: number;
}

export interface SweepCounts {
  sweeps: number;
  copiedBlocks: number;
  copiedBytes: number;
  /** Of the blocks, those that were carried over because somebody read them. */
  carriedBlocks: number;
}

/** A copy on its way. */
interface Copy {
  readonly range: BlockRange;
  readonly ended: Promise<void>;
}

/** What is to be copied; null: it was not read. */
type Read = () => Promise<Uint8Array | null>;

export class Sweep {
  readonly counts: SweepCounts = { sweeps: 0, copiedBlocks: 0, copiedBytes: 0, carriedBlocks: 0 };
  readonly #inFlight = new Set<Copy>();
  #isRunning = false;
  #unsettled: BlockRange[] = [];
  #unsettledBytes = 0;
  #failure: { readonly cause: unknown } | null = null;

  constructor(
    private readonly parts: SweepParts,
    private readonly settings: SweepSettings,
  ) {}

  /** `whenDone` is called in the turn in which nothing is left to copy; `settle` is to be called after it. */
  async run(signal: AbortSignal, whenDone: () => void): Promise<void> {
    const todo = this.parts.tracking.beginResync();
    this.#isRunning = true;
    try {
      // Where there is nothing from the start, this is the turn of the call.
      for (let isShort = todo.isEmpty; ; ) {
        if (!todo.isEmpty) {
          this.counts.sweeps += 1;
          await this.#once(todo, signal);
          this.parts.pace.swept(todo.count);
        } else if (this.#inFlight.size > 0) {
          await this.#arrived(signal);
        } else if (!isShort) {
          isShort = true;
          await this.#shorten(signal);
        } else break;
      }
      this.#check(signal);
      whenDone();
    } finally {
      this.#isRunning = false;
      await Promise.allSettled(this.#ends());
    }
  }

  /**
   * Whole blocks that a user reads, from `offset` on: those that are dirty are copied from there, as far as there is room.
   * Nobody writes to them until they are read. In the turn in which reading begins.
   */
  carry(range: BlockRange, offset: number, reading: Promise<void>, into: Buffers): void {
    const { tracking, primary, pace } = this.parts;
    const { todo } = tracking;
    if (todo === null || !this.#isRunning) return;
    for (const piece of todo.runsWithin(range)) {
      if (this.#inFlight.size >= this.settings.inFlight || !pace.isReady) return;
      if (this.#meets(piece)) continue;
      const { start, length } = bytesOf(piece, primary.size);
      todo.clear(piece);
      this.counts.carriedBlocks += piece.count;
      this.#begin(piece, async () => {
        await reading;
        return copyOf(sliceBuffers(into, start - offset, length));
      });
    }
  }

  /** A long flush behind the end would be time to be lost in, and then all of it would be copied again. */
  async #shorten(signal: AbortSignal): Promise<void> {
    const { pieceBytes, inFlight } = this.settings;
    if (this.#unsettledBytes > pieceBytes * inFlight) await this.#settleAmid(signal);
  }

  /** Both sides are flushed, and what was copied is clean, on disk too, where nobody has written to it since. */
  async settle(): Promise<void> {
    const { tracking, secondary, flushPrimary } = this.parts;
    const copied = this.#unsettled.splice(0);
    this.#unsettledBytes = 0;
    await allEnded([secondary.flush(), flushPrimary(), tracking.releaseUncopied()]);
    // What has failed is on its way no more, and not there.
    if (this.#failure !== null) throw this.#failure.cause;
    const again = this.#sinceTaken();
    for (const range of copied) for (const settled of again.gapsWithin(range)) tracking.settle(settled);
    await tracking.file.release();
  }

  /** Carried over since a settle began, which was not flushed by that: it may be there, or not. */
  #sinceTaken(): BlockMap {
    const blocks = new BlockMap(this.parts.tracking.map.blocks);
    for (const { range } of this.#inFlight) blocks.set(range);
    for (const range of this.#unsettled) blocks.set(range);
    return blocks;
  }

  async #once(todo: BlockMap, signal: AbortSignal): Promise<void> {
    const { tracker, pace } = this.parts;
    const pieceBlocks = this.settings.pieceBytes / BLOCK_BYTES;
    for (let at = 0; ; ) {
      await pace.ready(signal);
      while (this.#inFlight.size >= this.settings.inFlight) await Promise.race(this.#ends());
      this.#check(signal);
      // Nothing is awaited from here on: what is dirty, and who writes, is as of this turn.
      const piece: BlockRange | null = todo.next(at, pieceBlocks);
      if (piece === null) break;
      at = piece.from + piece.count;
      for (const range of tracker.writing.zeroWithin(piece))
        if (!this.#meets(range)) this.#sweep(todo, range);
      if (this.#unsettledBytes >= this.settings.settleBytes) await this.#settleAmid(signal);
    }
    await this.#arrived(signal);
    // Whoever writes to what is left has a turn to end in.
    if (!todo.isEmpty) await new Promise((resolve) => setImmediate(resolve));
  }

  async #settleAmid(signal: AbortSignal): Promise<void> {
    await this.#arrived(signal);
    await this.settle();
  }

  /** All that is on its way; and what failed while nobody waited for it. */
  async #arrived(signal: AbortSignal): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.all(this.#ends());
    this.#check(signal);
  }

  #check(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#failure !== null) throw this.#failure.cause;
  }

  #ends(): Promise<void>[] {
    return [...this.#inFlight].map(({ ended }) => ended);
  }

  #meets(range: BlockRange): boolean {
    return [...this.#inFlight].some((copy) => overlap(copy.range, range));
  }

  #sweep(todo: BlockMap, range: BlockRange): void {
    const { tracker, primary } = this.parts;
    const { start, length } = bytesOf(range, primary.size);
    const bytes = new Uint8Array(length);
    this.#begin(range, async () => {
      const isRead = await tracker.copy(range, () => {
        todo.clear(range);
        return primary.read(start, bytes);
      });
      return isRead ? bytes : null;
    });
  }

  #begin(range: BlockRange, read: Read): void {
    this.parts.pace.charge(bytesOf(range, this.parts.primary.size).length);
    const ended = this.#copy(range, read).finally(() => this.#inFlight.delete(copy));
    const copy: Copy = { range, ended };
    ended.catch((cause: unknown) => {
      this.#failure ??= { cause };
    });
    this.#inFlight.add(copy);
  }

  async #copy(range: BlockRange, read: Read): Promise<void> {
    const { secondary, tracking } = this.parts;
    const bytes = await read();
    if (bytes === null) return;
    const offset = range.from * BLOCK_BYTES;
    if (bytes.every((byte) => byte === 0)) await secondary.writeZeroes(offset, bytes.byteLength);
    else await secondary.write(offset, bytes);
    // Not before: a flush that has begun by now is none of it.
    this.#unsettled.push(range);
    tracking.uncopied?.copied(range);
    this.#unsettledBytes += bytes.byteLength;
    this.counts.copiedBlocks += range.count;
    this.counts.copiedBytes += bytes.byteLength;
    this.parts.onCopied();
  }
}

/** The last block of a device may be short. */
function bytesOf({ from, count }: BlockRange, sizeBytes: number): { start: number; length: number } {
  const start = from * BLOCK_BYTES;
  return { start, length: Math.min(count * BLOCK_BYTES, sizeBytes - start) };
}
