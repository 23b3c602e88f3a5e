/**
 * The blocks that may be evicted, the least recently used first: a chain through the blocks themselves, because a Set
 * that is emptied from its front walks over everything that was ever taken from there, and a Map beside the chain
 * costs as much as all else that a small read does in the cache.
 */
import type { CacheBlock } from './cache-block.js';

export class EvictionOrder {
  #oldest: CacheBlock | null = null;
  #newest: CacheBlock | null = null;

  /** Makes it the newest. */
  add(block: CacheBlock): void {
    this.remove(block);
    block.isInOrder = true;
    block.older = this.#newest;
    if (this.#newest === null) this.#oldest = block;
    else this.#newest.newer = block;
    this.#newest = block;
  }

  remove(block: CacheBlock): void {
    if (!block.isInOrder) return;
    const { older, newer } = block;
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
    block.isInOrder = false;
    block.older = null;
    block.newer = null;
  }

  /** Takes out the oldest; null when there is none. */
  shift(): CacheBlock | null {
    const block = this.#oldest;
    if (block !== null) this.remove(block);
    return block;
  }
}
