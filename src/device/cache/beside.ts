/**
 * What passes the cache by: long reads of what is not in it, long writes of whole stripes, and zeroes and trims of whole
 * blocks. They have nothing to gather for, and to take them in costs as much as to do them.
 *
 * Invariants
 * - Blocks are locked while something is done to them below: nothing comes into the cache there, and nothing of it goes down.
 * - What the cache has of a range that was written beside it stays, dirty too, until that has ended well: a failure loses no
 *   write that was taken, and a flush that begins meanwhile waits for the lock. So what was answered before a flush, and is
 *   overtaken by a write that is under way, is durable with it: the old version or the new one.
 */
import { byteLength } from '../buffers.js';
import type { BlockDevice, Buffers } from '../contract.js';
import type { BlockStore } from './block-store.js';
import { CACHE_BLOCK_BYTES } from './cache-block.js';

/** Blocks [first, end). */
export interface BlockSpan {
  readonly first: number;
  readonly end: number;
}

export interface BesideOptions {
  readonly lower: BlockDevice;
  readonly store: BlockStore;
  readonly stripeBytes: number;
  readonly alignOffset: number;
  /** Shorter reads and writes go through the cache. */
  readonly besideBytes: number;
  /** To be called when an obstacle to others has ended. */
  readonly kick: () => void;
}

export class Beside {
  constructor(private readonly options: BesideOptions) {}

  /** What is shorter goes through the cache. */
  isLong(length: number): boolean {
    return length >= this.options.besideBytes;
  }

  /** Reads a range of which nothing is in the cache from below. False: something of it is there, and nothing was read. */
  async read(offset: number, into: Buffers): Promise<boolean> {
    const { lower, store, kick } = this.options;
    const length = byteLength(into);
    if (offset % lower.blockSize !== 0 || length % lower.blockSize !== 0) return false;
    const first = Math.floor(offset / CACHE_BLOCK_BYTES);
    const end = Math.ceil((offset + length) / CACHE_BLOCK_BYTES);
    if (store.hasAny(first, end)) return false;
    const release = await store.locks.take(first, end);
    try {
      // Under the lock none comes in, so nothing is written below while it is read; before it some may have.
      if (store.hasAny(first, end)) return false;
      await lower.read(offset, into);
      return true;
    } finally {
      release();
      kick();
    }
  }

  /** The whole stripes in a range that is long enough; null: it goes through the cache. */
  wholeStripes(offset: number, length: number): BlockSpan | null {
    if (!this.isLong(length)) return null;
    const { stripeBytes, alignOffset } = this.options;
    const align = alignOffset % stripeBytes;
    const start = Math.ceil((offset - align) / stripeBytes) * stripeBytes + align;
    const stop = Math.floor((offset + length - align) / stripeBytes) * stripeBytes + align;
    if (!this.isLong(stop - start)) return null;
    return { first: start / CACHE_BLOCK_BYTES, end: stop / CACHE_BLOCK_BYTES };
  }

  /** Changes whole blocks of the lower device; what the cache has of them is then forgotten. */
  async change(
    { first, end }: BlockSpan,
    change: (offset: number, length: number) => Promise<void>,
  ): Promise<void> {
    const { store, lower, kick } = this.options;
    const release = await store.locks.take(first, end);
    try {
      // Nothing new starts on these blocks, so this ends.
      await Promise.all([...store.within(first, end)].map((block) => block.obstacle));
      const offset = first * CACHE_BLOCK_BYTES;
      await change(offset, Math.min(end * CACHE_BLOCK_BYTES, lower.size) - offset);
      for (const block of [...store.within(first, end)]) store.drop(block);
    } finally {
      release();
      kick();
    }
  }
}
