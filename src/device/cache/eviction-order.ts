/**
 * The blocks that may be evicted, the least recently used first: a ring of links, because a Set that is
 * emptied from its front walks over everything that was ever taken from there.
 */
import type { CacheBlock } from './cache-block.js';

interface Link {
  before: Link;
  after: Link;
  readonly block: CacheBlock | null;
}

export class EvictionOrder {
  /** Its `after` is the oldest, its `before` the newest. */
  readonly #ends: Link;
  readonly #links = new Map<CacheBlock, Link>();

  constructor() {
    const ends = { block: null } as Link;
    ends.before = ends;
    ends.after = ends;
    this.#ends = ends;
  }

  /** Makes it the newest. */
  add(block: CacheBlock): void {
    this.remove(block);
    const link = { before: this.#ends.before, after: this.#ends, block };
    link.before.after = link;
    this.#ends.before = link;
    this.#links.set(block, link);
  }

  remove(block: CacheBlock): void {
    const link = this.#links.get(block);
    if (link === undefined) return;
    link.before.after = link.after;
    link.after.before = link.before;
    this.#links.delete(block);
  }

  /** Takes out the oldest; null when there is none. */
  shift(): CacheBlock | null {
    const { block } = this.#ends.after;
    if (block !== null) this.remove(block);
    return block;
  }
}
