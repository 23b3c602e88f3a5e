/**
 * Which blocks the transaction log lists, and for whom they still count (coordinated dirty block tracking, paragraphs 65 and
 * 77, figure 5).
 *
 * Invariants
 * - A block is in one active transaction at most: one that is listed is not listed again.
 * - Whoever writes to a block waits until the transaction that lists it is durable, whoever began it.
 * - A transaction is done when none of its blocks is in it any more.
 */
import { appendBlock, type BlockRange, type GrowingRanges } from '../blocks.js';
import type { TransactionLogFace } from '../contract.js';

const PAGE_BLOCKS = 4096;

/** What one call of the log lists. */
interface Listing {
  /** Its blocks that are in it still. */
  left: number;
  /** False: the log had no room, and it is not listed. */
  listed: Promise<boolean>;
  /** Of the log; null until it is durable. */
  transactions: readonly number[] | null;
}

interface Page {
  readonly listings: (Listing | undefined)[];
  /** Blocks that have one. */
  used: number;
}

export class ListedBlocks {
  /** For each block the listing that has it. */
  readonly #pages = new Map<number, Page>();

  constructor(private readonly log: TransactionLogFace) {}

  /**
   * Ends when all blocks are listed durably. False: the log has no room for them. Throws what the log failed with. `ahead`: blocks that
   * nobody waits for, and that are listed in the same call.
   */
  async list(ranges: readonly BlockRange[], ahead: readonly BlockRange[] = []): Promise<boolean> {
    const missing = this.#unlisted(ranges);
    const listings = this.#listingsOf(ranges);
    if (missing.length > 0) listings.add(this.#begin(missing));
    const early = this.#unlisted(ahead);
    // In the same turn: one write of the log has both. Its own failure is told to who writes next.
    if (early.length > 0) this.#begin(early);
    const pending = [...listings].filter(({ transactions }) => transactions === null);
    if (pending.length === 0) return true;
    const outcomes = await Promise.all(pending.map(({ listed }) => listed));
    return outcomes.every((isListed) => isListed);
  }

  /** No secondary needs to find them here any more (steps 520 to 540), but those that somebody does. */
  remove({ from, count }: BlockRange, isNeeded: (block: number) => boolean = () => false): void {
    for (let block = from; block < from + count; block++) {
      const number = Math.floor(block / PAGE_BLOCKS);
      const page = this.#pages.get(number);
      if (page === undefined) {
        block = (number + 1) * PAGE_BLOCKS - 1;
        continue;
      }
      const listing = page.listings[block - number * PAGE_BLOCKS];
      if (listing === undefined || isNeeded(block)) continue;
      this.#take(number, block - number * PAGE_BLOCKS, listing);
      this.#endIfEmpty(listing);
    }
  }

  has(block: number): boolean {
    return this.#at(block) !== undefined;
  }

  #begin(ranges: readonly BlockRange[]): Listing {
    const listing: Listing = { left: 0, listed: Promise.resolve(true), transactions: null };
    for (const range of ranges) this.#put(range, listing);
    listing.listed = this.log.begin(ranges).then(
      (transactions) => {
        if (transactions === null) this.#forget(ranges, listing);
        else this.#durable(listing, transactions);
        return transactions !== null;
      },
      (cause: unknown) => {
        this.#forget(ranges, listing);
        throw cause;
      },
    );
    // Each of those that wait for it is told.
    listing.listed.catch(() => {});
    return listing;
  }

  #durable(listing: Listing, transactions: readonly number[]): void {
    listing.transactions = transactions;
    this.#endIfEmpty(listing);
  }

  #forget(ranges: readonly BlockRange[], listing: Listing): void {
    for (const { from, count } of ranges)
      for (let block = from; block < from + count; block++) {
        const number = Math.floor(block / PAGE_BLOCKS);
        if (this.#at(block) === listing) this.#take(number, block - number * PAGE_BLOCKS, listing);
      }
  }

  #endIfEmpty(listing: Listing): void {
    if (listing.left > 0 || listing.transactions === null) return;
    for (const transaction of listing.transactions) this.log.done(transaction);
  }

  #at(block: number): Listing | undefined {
    const number = Math.floor(block / PAGE_BLOCKS);
    return this.#pages.get(number)?.listings[block - number * PAGE_BLOCKS];
  }

  #put({ from, count }: BlockRange, listing: Listing): void {
    for (let block = from; block < from + count; block++) {
      const number = Math.floor(block / PAGE_BLOCKS);
      let page = this.#pages.get(number);
      if (page === undefined) {
        page = { listings: new Array<Listing | undefined>(PAGE_BLOCKS).fill(undefined), used: 0 };
        this.#pages.set(number, page);
      }
      // Two writes of one call may share a block.
      if (page.listings[block - number * PAGE_BLOCKS] === listing) continue;
      page.listings[block - number * PAGE_BLOCKS] = listing;
      page.used += 1;
      listing.left += 1;
    }
  }

  #take(number: number, at: number, listing: Listing): void {
    const page = this.#pages.get(number)!;
    page.listings[at] = undefined;
    listing.left -= 1;
    page.used -= 1;
    if (page.used === 0) this.#pages.delete(number);
  }

  #listingsOf(ranges: readonly BlockRange[]): Set<Listing> {
    const found = new Set<Listing>();
    for (const { from, count } of ranges)
      for (let block = from; block < from + count; block++) {
        const listing = this.#at(block);
        if (listing !== undefined) found.add(listing);
      }
    return found;
  }

  #unlisted(ranges: readonly BlockRange[]): BlockRange[] {
    const missing: GrowingRanges = [];
    for (const { from, count } of ranges)
      for (let block = from; block < from + count; block++) {
        if (this.#at(block) !== undefined) continue;
        appendBlock(missing, block);
      }
    return missing;
  }
}
