/**
 * The blocks that may be evicted, the least recently used first: a chain of links within the blocks. (A Set
 * that is emptied from its front walks over everything that was ever taken from there; links beside the blocks
 * cost a lookup each.)
 */
import type { CacheBlock } from './cache-block.js';

export class EvictionOrder {
  #oldest: CacheBlock | null = null;
  #newest: CacheBlock | null = null;

  /** Makes it the newest. */
  add(block: CacheBlock): void {
    this.remove(block);
    block.isLinked = true;
    block.older = this.#newest;
    if (this.#newest === null) this.#oldest = block;
    else this.#newest.newer = block;
    this.#newest = block;
  }

  remove(block: CacheBlock): void {
    if (!block.isLinked) return;
    const { older, newer } = block;
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
    block.older = null;
    block.newer = null;
    block.isLinked = false;
  }

  /** Takes out the oldest; null when there is none. */
  shift(): CacheBlock | null {
    const block = this.#oldest;
    if (block !== null) this.remove(block);
    return block;
  }
}
