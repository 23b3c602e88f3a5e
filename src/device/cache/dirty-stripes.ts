/**
 * The dirty blocks, by the full stripe of the lower device that they lie in: what goes down together, and
 * what goes down first.
 */
import { CACHE_BLOCK_BYTES, type CacheBlock } from './cache-block.js';

interface DirtyStripe {
  readonly number: number;
  /** Of its oldest dirty write, or an older one. */
  readonly since: number;
  readonly blocks: Set<CacheBlock>;
}

export class DirtyStripes {
  /** In the order in which they became dirty. */
  readonly #stripes = new Map<number, DirtyStripe>();

  /**
   * All in bytes and whole blocks: a stripe's length, where one of them starts, the device's size (which
   * alone need not be whole blocks).
   */
  constructor(
    private readonly stripeBytes: number,
    private readonly alignOffset: number,
    private readonly size: number,
  ) {}

  /** `since`: the number of the oldest write that the block is dirty by. */
  mark(block: CacheBlock, since: number): void {
    const number = this.#numberOf(block);
    const stripe = this.#stripes.get(number);
    if (stripe === undefined) {
      this.#stripes.set(number, { number, since, blocks: new Set([block]) });
    } else {
      stripe.blocks.add(block);
      if (since < stripe.since) this.#stripes.set(number, { ...stripe, since });
    }
  }

  /** Returns the age that it was kept under. */
  unmark(block: CacheBlock): number {
    const number = this.#numberOf(block);
    const stripe = this.#stripes.get(number)!;
    stripe.blocks.delete(block);
    if (stripe.blocks.size === 0) this.#stripes.delete(number);
    return stripe.since;
  }

  /** Blocks of all stripes with a write as old as `since`. */
  *dueBlocks(since: number): Generator<CacheBlock> {
    for (const stripe of this.#stripes.values()) if (stripe.since <= since) yield* stripe.blocks;
  }

  /**
   * Blocks to write back, whole stripes of them: complete ones first, since they cost no reads below, then
   * the oldest; of those as old as `since` alone; until `bytes` are reached. Blocks that `canGo` refuses
   * stay.
   */
  pick(bytes: number, since: number, canGo: (block: CacheBlock) => boolean): CacheBlock[] {
    const due = [...this.#stripes.values()].filter((stripe) => stripe.since <= since);
    const complete = new Set(due.filter((stripe) => this.#isComplete(stripe)));
    const order = [...complete, ...due.filter((stripe) => !complete.has(stripe))];
    const picked: CacheBlock[] = [];
    for (const stripe of order) {
      if (picked.length * CACHE_BLOCK_BYTES >= bytes) break;
      for (const block of stripe.blocks) if (canGo(block)) picked.push(block);
    }
    return picked.sort((a, b) => a.index - b.index);
  }

  /** How many of these blocks' stripes go down as a whole. */
  countComplete(blocks: readonly CacheBlock[]): number {
    const given = new Map<number, number>();
    for (const block of blocks) {
      if (!block.dirty.isFull) continue;
      const number = this.#numberOf(block);
      given.set(number, (given.get(number) ?? 0) + 1);
    }
    let complete = 0;
    for (const [number, count] of given) if (count === this.#blocksOf(number)) complete += 1;
    return complete;
  }

  #isComplete(stripe: DirtyStripe): boolean {
    if (stripe.blocks.size !== this.#blocksOf(stripe.number)) return false;
    for (const block of stripe.blocks) if (!block.dirty.isFull || block.obstacle !== null) return false;
    return true;
  }

  #numberOf(block: CacheBlock): number {
    return Math.floor((block.offset - this.alignOffset) / this.stripeBytes);
  }

  /** Those at the ends of the device may be shorter. */
  #blocksOf(number: number): number {
    const start = Math.max(0, this.alignOffset + number * this.stripeBytes);
    const end = Math.min(this.size, this.alignOffset + (number + 1) * this.stripeBytes);
    return Math.ceil((end - start) / CACHE_BLOCK_BYTES);
  }
}
