/**
 * What a device holds in one of the many states that are explored: pages that states share, and those in which
 * this one differs. A fork costs the number of pages that differ from the start, not their bytes.
 *
 * Invariants
 * - A page that anybody else may see is never changed: the first write after a fork takes a copy of it.
 * - `hash` is that of the whole content, and costs the pages that were written since it was last asked for.
 */
import { HASH_WORDS, hashSector, SECTOR_BYTES, xorHash } from './state-hash.js';

export const PAGE_BYTES = 4096;
const PAGE_SECTORS = PAGE_BYTES / SECTOR_BYTES;
const ZEROES = new Uint8Array(PAGE_BYTES);

type Pages = Map<number, Uint8Array>;

export class StateContent {
  /** Pages that nobody else sees: those written since the last fork or hash. */
  private readonly owned = new Set<number>();
  /** Pages that the hash does not know of yet, and what they were when it did. */
  private unhashed: Pages = new Map();
  private readonly hashed = new Int32Array(HASH_WORDS);

  private constructor(
    /** Which device it is, for the hash. */
    private readonly device: number,
    /** What all forks began with. */
    private readonly base: ReadonlyMap<number, Uint8Array>,
    private readonly changed: Pages,
  ) {}

  /** All zeroes, for the device of this number. */
  static blank(device: number): StateContent {
    return new StateContent(device, new Map(), new Map());
  }

  /** Of the device of this number: `base`, by the numbers of its pages; zeroes elsewhere. It is read as pages are asked for. */
  static over(device: number, base: ReadonlyMap<number, Uint8Array>): StateContent {
    return new StateContent(device, base, new Map());
  }

  /** The same content, to be changed apart from this one. */
  fork(): StateContent {
    return this.copy(this.base, new Map(this.changed));
  }

  /** As `fork`; what it holds now becomes what its own forks begin with, so that they are cheap. */
  freeze(): StateContent {
    return this.copy(new Map([...this.base, ...this.changed]), new Map());
  }

  read(offset: number, into: Uint8Array): void {
    for (let at = 0; at < into.length; ) {
      const page = Math.floor((offset + at) / PAGE_BYTES);
      const start = offset + at - page * PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - start, into.length - at);
      const found = this.page(page);
      if (found === undefined) into.fill(0, at, at + length);
      else into.set(length === PAGE_BYTES ? found : found.subarray(start, start + length), at);
      at += length;
    }
  }

  write(offset: number, from: Uint8Array): void {
    for (let at = 0; at < from.length; ) {
      const page = Math.floor((offset + at) / PAGE_BYTES);
      const start = offset + at - page * PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - start, from.length - at);
      this.own(page).set(length === from.length ? from : from.subarray(at, at + length), start);
      at += length;
    }
  }

  zero(offset: number, length: number): void {
    for (let at = offset; at < offset + length; ) {
      const page = Math.floor(at / PAGE_BYTES);
      const start = at - page * PAGE_BYTES;
      const end = Math.min(PAGE_BYTES, offset + length - page * PAGE_BYTES);
      if (end - start < PAGE_BYTES) this.own(page).fill(0, start, end);
      else if (this.page(page) !== undefined) this.replace(page, ZEROES);
      at += end - start;
    }
  }

  /** Numbers of pages of 4096 bytes: of all that may be something else than zeroes, in any order. */
  *pages(): Generator<number> {
    for (const page of this.base.keys()) if (!this.changed.has(page)) yield page;
    for (const [page, content] of this.changed) if (content !== ZEROES) yield page;
  }

  /** Those that may be something else than what all forks began with. */
  changedPages(): Iterable<number> {
    return this.changed.keys();
  }

  /** Numbers of the sectors of [from, to) that may be something else than zeroes, by whole pages. Costs the shorter of the range and of all pages. */
  *dataSectors(from: number, to: number): Generator<number> {
    const [first, end] = [Math.floor(from / PAGE_SECTORS), Math.ceil(to / PAGE_SECTORS)];
    const isShort = end - first <= this.base.size + this.changed.size;
    for (const page of isShort ? numbers(first, end) : this.pages()) {
      if (page < first || page >= end) continue;
      const found = this.page(page);
      if (found === undefined || found === ZEROES) continue;
      const start = page * PAGE_SECTORS;
      yield* numbers(Math.max(from, start), Math.min(to, start + PAGE_SECTORS));
    }
  }

  /** Whether the page that `offset` lies in was ever written, and where it ends. */
  allocated(offset: number): { isData: boolean; end: number } {
    const page = Math.floor(offset / PAGE_BYTES);
    const found = this.page(page);
    return { isData: found !== undefined && found !== ZEROES, end: (page + 1) * PAGE_BYTES };
  }

  hash(into: Int32Array, at: number): void {
    for (const [page, was] of this.unhashed) this.rehash(page, was, this.page(page) ?? ZEROES);
    this.unhashed.clear();
    // What a page was is known of copies alone.
    this.owned.clear();
    into.set(this.hashed, at);
  }

  /** The same for content that is the same below `end` (whole pages), whatever lies behind it. */
  keyOf(end: number): string {
    const sum = new Int32Array(HASH_WORDS);
    const one = new Int32Array(HASH_WORDS);
    for (const pages of [this.base, this.changed]) {
      for (const [page, content] of pages) {
        if (page * PAGE_BYTES >= end || (pages === this.base && this.changed.has(page))) continue;
        for (let sector = 0; sector < PAGE_SECTORS; sector++) {
          const bytes = content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
          hashSector(this.device, page * PAGE_SECTORS + sector, bytes, one, 0);
          xorHash(sum, 0, one, 0);
        }
      }
    }
    return sum.join();
  }

  private copy(base: ReadonlyMap<number, Uint8Array>, changed: Pages): StateContent {
    const copy = new StateContent(this.device, base, changed);
    copy.hashed.set(this.hashed);
    copy.unhashed = new Map(this.unhashed);
    this.owned.clear();
    return copy;
  }

  private page(page: number): Uint8Array | undefined {
    return this.changed.get(page) ?? this.base.get(page);
  }

  private own(page: number): Uint8Array {
    const found = this.page(page) ?? ZEROES;
    if (found !== ZEROES && this.owned.has(page)) return found;
    // Of a Buffer `slice` would be the same memory.
    const copy = new Uint8Array(found);
    this.replace(page, copy);
    return copy;
  }

  private replace(page: number, content: Uint8Array): void {
    if (!this.unhashed.has(page)) this.unhashed.set(page, this.page(page) ?? ZEROES);
    this.owned.add(page);
    this.changed.set(page, content);
  }

  private rehash(page: number, was: Uint8Array, is: Uint8Array): void {
    for (let sector = 0; sector < PAGE_SECTORS; sector++) {
      const start = sector * SECTOR_BYTES;
      const [old, now] = [
        was.subarray(start, start + SECTOR_BYTES),
        is.subarray(start, start + SECTOR_BYTES),
      ];
      if (Buffer.compare(old, now) === 0) continue;
      const number = page * PAGE_SECTORS + sector;
      for (const content of [old, now]) {
        hashSector(this.device, number, content, sectorWords, 0);
        xorHash(this.hashed, 0, sectorWords, 0);
      }
    }
  }
}

function* numbers(from: number, to: number): Generator<number> {
  for (let number = from; number < to; number++) yield number;
}

const sectorWords = new Int32Array(HASH_WORDS);
