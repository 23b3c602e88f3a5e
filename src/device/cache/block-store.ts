/**
 * The blocks that are in the cache, and the order in which clean ones leave it (the least recently used
 * first). All of it is synchronous: between two awaits of anybody it is consistent.
 *
 * Invariants
 * - Every frame is free, or some block's, or in flight, or in the hands of a call; it is never two of them.
 * - The budget's dirty frames are the blocks that are dirty or in flight, and the versions in flight of
 *   which a newer one has been made.
 */
import { viewOf } from '../buffers.js';
import { BlockLocks } from './block-locks.js';
import { ByteCover } from './byte-cover.js';
import { CACHE_BLOCK_BYTES, CacheBlock } from './cache-block.js';
import { DirtyStripes } from './dirty-stripes.js';
import { EvictionOrder } from './eviction-order.js';
import { FrameBudget } from './frame-budget.js';

export interface StoreShape {
  /** Of the device, in bytes. */
  readonly size: number;
  /** Whole frames of memory. */
  readonly slab: Uint8Array;
  readonly dirtyLimitBlocks: number;
  readonly stripeBytes: number;
  readonly alignOffset: number;
}

export class BlockStore {
  readonly budget: FrameBudget;
  readonly stripes: DirtyStripes;
  readonly locks = new BlockLocks();
  readonly #size: number;
  readonly #blocks = new Map<number, CacheBlock>();
  /** The least recently used first; among them are blocks that were evictable when they were put here. */
  readonly #evictable = new EvictionOrder();
  #writes = 0;

  constructor({ size, slab, dirtyLimitBlocks, stripeBytes, alignOffset }: StoreShape) {
    this.#size = size;
    this.budget = new FrameBudget(slab, dirtyLimitBlocks, () => this.#evict());
    this.stripes = new DirtyStripes(stripeBytes, alignOffset, size);
  }

  /** The number of the newest write: what is dirty now is that old or older. */
  get writes(): number {
    return this.#writes;
  }

  get count(): number {
    return this.#blocks.size;
  }

  get(index: number): CacheBlock | undefined {
    return this.#blocks.get(index);
  }

  /** The blocks that are there, of [first, end), in no order. */
  *within(first: number, end: number): Generator<CacheBlock> {
    if (end - first > this.#blocks.size) {
      for (const block of this.#blocks.values()) if (block.index >= first && block.index < end) yield block;
      return;
    }
    for (let index = first; index < end; index++) {
      const block = this.#blocks.get(index);
      if (block !== undefined) yield block;
    }
  }

  /** Whether there is a block of [first, end). */
  hasAny(first: number, end: number): boolean {
    if (end - first > this.#blocks.size) return !this.within(first, end).next().done;
    for (let index = first; index < end; index++) if (this.#blocks.has(index)) return true;
    return false;
  }

  /** A new block of which nothing is known. It is not evictable before `settle`. */
  insert(index: number, frame: Uint8Array): CacheBlock {
    const length = Math.min(CACHE_BLOCK_BYTES, this.#size - index * CACHE_BLOCK_BYTES);
    const block = new CacheBlock(index, length, frame);
    this.#blocks.set(index, block);
    return block;
  }

  /**
   * Writes into a block, which is made if it is not there. `frame` is a dirty frame of the budget's, which
   * is wanted when the block says so (or there is none) and is used up then.
   */
  write(
    index: number,
    start: number,
    end: number,
    frame: Uint8Array | null,
    copy: (into: Uint8Array) => void,
  ): void {
    const block = this.#writable(index, frame, end - start === CACHE_BLOCK_BYTES);
    copy(viewOf(block.frame, start, end));
    block.valid.add(start, end);
    block.dirty.add(start, end);
    this.#evictable.remove(block);
    this.#writes += 1;
    this.stripes.mark(block, this.#writes);
  }

  /** To be called when something that kept a block has ended, or when it was used. */
  settle(block: CacheBlock): void {
    if (this.#blocks.get(block.index) !== block) return;
    this.#evictable.remove(block);
    if (!block.isEvictable) return;
    if (block.valid.isEmpty) this.drop(block);
    else {
      this.#evictable.add(block);
      this.budget.serve();
    }
  }

  /** Forgets a block, dirty or not, that has no obstacle. */
  drop(block: CacheBlock): void {
    this.#blocks.delete(block.index);
    this.#evictable.remove(block);
    const wasDirty = !block.dirty.isEmpty;
    if (wasDirty) this.stripes.unmark(block);
    // Who still has it in hand, for a write-back say, must not take it for work to be done.
    block.dirty = new ByteCover(block.length);
    this.budget.give([block.frame]);
    if (wasDirty) this.budget.clean();
  }

  #writable(index: number, frame: Uint8Array | null, overwritesAll: boolean): CacheBlock {
    const block = this.#blocks.get(index);
    if (block === undefined) return this.insert(index, frame!);
    if (!block.needsDirtyFrame) return block;
    if (block.flight === null) {
      // A clean block has its frame; of what was taken for it only the right to be dirty is wanted.
      this.#evictable.remove(block);
      this.budget.give([frame!]);
    } else {
      if (!overwritesAll) frame!.set(block.frame);
      block.frame = frame!;
    }
    return block;
  }

  #evict(): Uint8Array | null {
    for (let block = this.#evictable.shift(); block !== null; block = this.#evictable.shift()) {
      // Taken up since: whoever did settles it afterwards, and it is there again.
      if (!block.isEvictable) continue;
      this.#blocks.delete(block.index);
      return block.frame;
    }
    return null;
  }
}
