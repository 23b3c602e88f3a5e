/**
 * A number for each block, nearly all of them zero: how many updates of it are in flight, how many writes. In pages that are
 * there while any of their blocks has one.
 */
import { appendBlock, type BlockRange, type GrowingRanges } from '../blocks.js';

const PAGE_BLOCKS = 4096;

interface Page {
  readonly counts: Uint32Array;
  /** Blocks that have one. */
  used: number;
}

export class BlockCounts {
  readonly #pages = new Map<number, Page>();

  get(block: number): number {
    const number = Math.floor(block / PAGE_BLOCKS);
    return this.#pages.get(number)?.counts[block - number * PAGE_BLOCKS] ?? 0;
  }

  /** One more for each. */
  add({ from, count }: BlockRange): void {
    for (let block = from; block < from + count; block++) {
      const number = Math.floor(block / PAGE_BLOCKS);
      let page = this.#pages.get(number);
      if (page === undefined) {
        page = { counts: new Uint32Array(PAGE_BLOCKS), used: 0 };
        this.#pages.set(number, page);
      }
      const at = block - number * PAGE_BLOCKS;
      if (page.counts[at]! === 0) page.used += 1;
      page.counts[at]! += 1;
    }
  }

  /** One less for each, which must have one. Those that have none any more, ascending. */
  remove({ from, count }: BlockRange): BlockRange[] {
    const zero: GrowingRanges = [];
    for (let block = from; block < from + count; block++) {
      const number = Math.floor(block / PAGE_BLOCKS);
      const page = this.#pages.get(number);
      const at = block - number * PAGE_BLOCKS;
      if (page === undefined || page.counts[at]! === 0)
        throw new Error(`block ${block} is counted less than never`);
      page.counts[at]! -= 1;
      if (page.counts[at]! > 0) continue;
      page.used -= 1;
      if (page.used === 0) this.#pages.delete(number);
      appendBlock(zero, block);
    }
    return zero;
  }

  /** The parts of the range whose blocks have none, ascending. */
  zeroWithin(range: BlockRange): BlockRange[] {
    if (this.#pages.size === 0) return [range];
    const zero: GrowingRanges = [];
    for (let block = range.from; block < range.from + range.count; block++) {
      if (this.get(block) > 0) continue;
      appendBlock(zero, block);
    }
    return zero;
  }

  /** Blocks that have one, ascending. */
  runs(): BlockRange[] {
    const found: GrowingRanges = [];
    for (const [number, { counts }] of [...this.#pages].sort(([a], [b]) => a - b))
      for (const [at, count] of counts.entries())
        if (count > 0) appendBlock(found, number * PAGE_BLOCKS + at);
    return found;
  }

  clear(): void {
    this.#pages.clear();
  }
}
