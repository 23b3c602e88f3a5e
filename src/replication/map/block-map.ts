/**
 * A bit for each block of a volume, in memory, in pages that are made when a bit of them is first set and are gone with the
 * last one (coordinated dirty block tracking, paragraphs 58, 98.5 and 100). The pages are those of the map file.
 *
 * Invariants
 * - A page that exists has a bit; `#there` says which do, so that what is absent is passed by 122,880 blocks at a time.
 * - The count is exact. No bit is past the last block.
 */
import type { BlockRange } from '../blocks.js';
import { countWords, FULL_PAGE, nextBit, PAGE_BITS, PAGE_WORDS, putBits } from './words.js';

/** What of a range lies in one page. */
export interface PagePart {
  readonly page: number;
  /** Bits of the page, from `low` (included) to `high` (excluded). */
  readonly low: number;
  readonly high: number;
}

export class BlockMap {
  readonly #pages = new Map<number, Uint32Array>();
  /** A bit for each page. */
  readonly #there: Uint32Array;
  #count = 0;

  constructor(readonly blocks: number) {
    this.#there = new Uint32Array(Math.ceil(this.pageCount / 32));
  }

  /** How many bits are set. */
  get count(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** How many pages there could be. */
  get pageCount(): number {
    return Math.ceil(this.blocks / PAGE_BITS);
  }

  /** How many there are. */
  get pagesThere(): number {
    return this.#pages.size;
  }

  has(block: number): boolean {
    const bit = block % PAGE_BITS;
    const words = this.#pages.get((block - bit) / PAGE_BITS);
    return words !== undefined && ((words[bit >>> 5]! >>> (bit & 31)) & 1) === 1;
  }

  /** Whether any of these has a bit. */
  meets({ from, count }: BlockRange): boolean {
    if (this.isEmpty) return false;
    const run = this.next(from, count);
    return run !== null && run.from < from + count;
  }

  set(range: BlockRange): void {
    for (const { page, low, high } of this.partsOf(range)) {
      if (low === 0 && high === PAGE_BITS) this.#put(page, FULL_PAGE, PAGE_BITS);
      else {
        const words = this.#own(page);
        if (words !== FULL_PAGE) this.#count += putBits(words, low, high, true);
      }
    }
  }

  clear(range: BlockRange): void {
    for (const { page, low, high } of this.partsOf(range)) {
      const words = this.#pages.get(page);
      if (words === undefined) continue;
      if (high - low === this.bitsOf(page)) this.#drop(page, countWords(words));
      else {
        // The shared page is not ours to change.
        const own = words === FULL_PAGE ? words.slice() : words;
        this.#count -= putBits(own, low, high, false);
        if (own !== words) this.#pages.set(page, own);
        if (nextBit(own, 0, true) === PAGE_BITS) this.#drop(page, 0);
      }
    }
  }

  setAll(): void {
    this.set({ from: 0, count: this.blocks });
  }

  clearAll(): void {
    this.#pages.clear();
    this.#there.fill(0);
    this.#count = 0;
  }

  /** All that is in the other one too. */
  add(other: BlockMap): void {
    for (const page of other.pages()) {
      const own = this.#pages.get(page);
      const words = other.page(page)!;
      this.putPage(page, own === undefined ? words : own.map((word, at) => word | words[at]!));
    }
  }

  equals(other: BlockMap): boolean {
    if (this.blocks !== other.blocks || this.#count !== other.count || this.#pages.size !== other.pagesThere)
      return false;
    for (const [page, words] of this.#pages) {
      const others = other.page(page);
      if (others === undefined || words.some((word, at) => word !== others[at])) return false;
    }
    return true;
  }

  /** The first run at `from` or after it, up to `most` blocks of it; null: there is none. */
  next(from: number, most: number = this.blocks): BlockRange | null {
    const start = this.#seek(from, true);
    if (start >= this.blocks || most < 1) return null;
    const end = Math.min(this.#seek(start, false, start + most), start + most, this.blocks);
    return { from: start, count: end - start };
  }

  /** Runs in ascending order. What is set or cleared meanwhile counts where they have not come yet. */
  *runs(from = 0): Generator<BlockRange> {
    for (let run = this.next(from); run !== null; run = this.next(run.from + run.count)) yield run;
  }

  /** As `runs`, of the range alone. */
  *runsWithin({ from, count }: BlockRange): Generator<BlockRange> {
    const end = from + count;
    for (let at = from; at < end; ) {
      const run = this.next(at, end - at);
      if (run === null || run.from >= end) return;
      at = Math.min(run.from + run.count, end);
      yield { from: run.from, count: at - run.from };
    }
  }

  /** The parts of the range without a bit, ascending. */
  *gapsWithin(range: BlockRange): Generator<BlockRange> {
    let at = range.from;
    for (const { from, count } of this.runsWithin(range)) {
      if (from > at) yield { from: at, count: from - at };
      at = from + count;
    }
    const end = range.from + range.count;
    if (end > at) yield { from: at, count: end - at };
  }

  /** Runs from `block` on, of `mostBlocks` together at most. */
  rangesFrom(block: number, mostBlocks: number): BlockRange[] {
    const found: BlockRange[] = [];
    let left = mostBlocks;
    for (let run = this.next(block, left); run !== null; run = this.next(run.from + run.count, left)) {
      found.push(run);
      left -= run.count;
    }
    return found;
  }

  /** Numbers of the pages that there are, ascending. */
  *pages(from = 0): Generator<number> {
    for (let page = this.#pageFrom(from); page < this.pageCount; page = this.#pageFrom(page + 1)) yield page;
  }

  /** The bits of a page, not to be written to; undefined: it has none. */
  page(page: number): Uint32Array | undefined {
    return this.#pages.get(page);
  }

  /** Makes the bits of a page these, which are copied; undefined has none. */
  putPage(page: number, words: Uint32Array | undefined): void {
    const count = words === undefined ? 0 : countWords(words);
    if (count === PAGE_BITS) this.#put(page, FULL_PAGE, count);
    else if (count > 0) this.#put(page, words!.slice(), count);
    else {
      const old = this.#pages.get(page);
      if (old !== undefined) this.#drop(page, countWords(old));
    }
  }

  /** Every bit that the page has blocks for. */
  fillPage(page: number): void {
    this.set({ from: page * PAGE_BITS, count: this.bitsOf(page) });
  }

  isPageFull(page: number): boolean {
    const words = this.#pages.get(page);
    return words !== undefined && nextBit(words, 0, false) >= this.bitsOf(page);
  }

  /** How many blocks the page has bits for: the last one may have fewer. */
  bitsOf(page: number): number {
    return Math.min(PAGE_BITS, this.blocks - page * PAGE_BITS);
  }

  /** The range, page by page. */
  *partsOf({ from, count }: BlockRange): Generator<PagePart> {
    const end = from + count;
    if (!(from >= 0 && count >= 0 && end <= this.blocks))
      throw new RangeError(`${count} blocks from ${from} on are not within ${this.blocks}`);
    for (let at = from; at < end; ) {
      const page = Math.floor(at / PAGE_BITS);
      const start = page * PAGE_BITS;
      const high = Math.min(end - start, PAGE_BITS);
      yield { page, low: at - start, high };
      at = start + high;
    }
  }

  /** The first block from `from` on that has a bit, or has none; it looks no further than `end`. */
  #seek(from: number, isSet: boolean, end: number = this.blocks): number {
    let at = Math.max(0, from);
    while (at < end) {
      const page = Math.floor(at / PAGE_BITS);
      const words = this.#pages.get(page);
      if (words === undefined) {
        if (!isSet) return at;
        at = this.#pageFrom(page + 1) * PAGE_BITS;
        continue;
      }
      const bit = words === FULL_PAGE && !isSet ? PAGE_BITS : nextBit(words, at - page * PAGE_BITS, isSet);
      at = page * PAGE_BITS + bit;
      if (bit < PAGE_BITS) return at;
    }
    return at;
  }

  /** The first page from `page` on that is there; pageCount or more: none is. */
  #pageFrom(page: number): number {
    for (let at = page >>> 5; at < this.#there.length; at++) {
      const bits = this.#there[at]! & (at === page >>> 5 ? -1 << (page & 31) : -1);
      if (bits !== 0) return at * 32 + 31 - Math.clz32(bits & -bits);
    }
    return this.pageCount;
  }

  /** A page that may be written to, with all bits as they are; or the shared one, where there is nothing left to set. */
  #own(page: number): Uint32Array {
    const found = this.#pages.get(page);
    if (found !== undefined) return found;
    const words = new Uint32Array(PAGE_WORDS);
    this.#put(page, words, 0);
    return words;
  }

  #put(page: number, words: Uint32Array, count: number): void {
    const old = this.#pages.get(page);
    this.#count += count - (old === undefined ? 0 : countWords(old));
    this.#pages.set(page, words);
    this.#there[page >>> 5]! |= 1 << (page & 31);
  }

  #drop(page: number, count: number): void {
    this.#count -= count;
    this.#pages.delete(page);
    this.#there[page >>> 5]! &= ~(1 << (page & 31));
  }
}
