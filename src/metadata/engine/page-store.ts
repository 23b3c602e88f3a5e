/**
 * Pages by what their parents call them: from the cache, from half A, from half B. New pages are written to both.
 *
 * Invariants
 * - The cache holds pages as they are on disk; it is bounded, and what was not asked for longest leaves it.
 * - A page with one bad copy is remembered, and the copy is written anew before the next root is: its other copy is
 *   not being written then. Where the page is no more what it was, nothing is.
 */
import { allEnded } from '../../device/all-ended.js';
import { damaged, type MetadataFinding, type Warn } from './findings.js';
import type { Check, Copy, Halves, Place } from './halves.js';
import { type Layout, PAGE_BYTES, pageOffset } from './layout.js';
import { checksumOf, decodePage, type Page } from './page.js';
import type { Pointer } from './root.js';

/** So many writes of pages are under way at once. */
const WRITES_AT_ONCE = 32;

export interface PageStoreOptions {
  readonly uuid: Uint8Array;
  readonly layout: Layout;
  readonly cacheBytes: number;
  readonly warn: Warn;
}

export function pagePlace(layout: Layout, page: number): Place {
  return {
    what: `page ${page} of the metadata's tree`,
    code: 'PAGE_COPY_DAMAGED',
    offset: pageOffset(layout, page),
    length: PAGE_BYTES,
  };
}

export class PageStore {
  readonly uuid: Uint8Array;
  readonly #halves: Halves;
  readonly #options: PageStoreOptions;
  /** In the order of their last use. */
  readonly #cache = new Map<number, Page>();
  readonly #toMend = new Map<number, { pointer: Pointer; level: number }>();
  #writes: Promise<void>[] = [];

  constructor(halves: Halves, options: PageStoreOptions) {
    this.#halves = halves;
    this.#options = options;
    this.uuid = options.uuid;
  }

  get cachedBytes(): number {
    return this.#cache.size * PAGE_BYTES;
  }

  /** `mend` has something to do. */
  get hasBadCopies(): boolean {
    return this.#toMend.size > 0;
  }

  /** undefined: it has to be read. */
  cached(pointer: Pointer): Page | undefined {
    const found = this.#cache.get(pointer.page);
    if (found === undefined || !isSame(found.pointer, pointer)) return undefined;
    this.#keep(found);
    return found;
  }

  async read(pointer: Pointer, level: number): Promise<Page> {
    const cached = this.cached(pointer);
    if (cached !== undefined) return cached;
    const place = this.#placeOf(pointer);
    const page = await this.#halves.read(place, this.#check(pointer, level), (finding) =>
      this.#found(finding, pointer, level),
    );
    this.#keep(page);
    return page;
  }

  /** Begins to write a page; what it is to its parent. It has been written when `written` ends. */
  async write(number: number, generation: number, level: number, bytes: Uint8Array): Promise<Pointer> {
    const pointer = { page: number, generation, checksum: checksumOf(bytes) };
    if (this.#writes.length >= WRITES_AT_ONCE) await this.written();
    const writing = this.#halves.write(pageOffset(this.#options.layout, number), bytes);
    // Whoever waits for all of them is told; until then it is nobody's yet.
    writing.catch(() => undefined);
    this.#writes.push(writing);
    const checked = decodePage(bytes, this.uuid, pointer, level);
    if ('bad' in checked) throw new Error(`page ${number} was made wrong: ${checked.bad}`);
    this.#keep(checked.good);
    return pointer;
  }

  /** All pages that were begun are written. Throws what the first of them failed with, when all have ended. */
  async written(): Promise<void> {
    const writes = this.#writes;
    this.#writes = [];
    await allEnded(writes);
  }

  /** Writes bad copies anew from good ones. */
  async mend(): Promise<void> {
    const pages = [...this.#toMend.values()];
    this.#toMend.clear();
    for (const { pointer, level } of pages) {
      const place = pagePlace(this.#options.layout, pointer.page);
      const copies = await this.#halves.both(place, this.#check(pointer, level));
      const good = copies.find(({ checked }) => 'good' in checked);
      const bad = copies.find(({ checked }) => 'bad' in checked);
      if (good !== undefined && bad !== undefined)
        await this.#halves.mend(bad.half, place.offset, good.bytes);
    }
  }

  /** Both copies, for the check. */
  async copies(pointer: Pointer, level: number): Promise<Copy<Page>[]> {
    return this.#halves.both(this.#placeOf(pointer), this.#check(pointer, level));
  }

  #placeOf({ page }: Pointer): Place {
    const { layout } = this.#options;
    if (page < layout.pages) return pagePlace(layout, page);
    const offset = this.#halves.offsetIn('A', layout.pagesOffset);
    throw damaged(
      this.#halves.range,
      offset,
      `the metadata's tree names page ${page} of ${layout.pages} that begin`,
    );
  }

  #check(pointer: Pointer, level: number): Check<Page> {
    return (bytes) => decodePage(bytes, this.uuid, pointer, level);
  }

  #found(finding: MetadataFinding, pointer: Pointer, level: number): void {
    if (!this.#toMend.has(pointer.page)) this.#options.warn(finding);
    this.#toMend.set(pointer.page, { pointer, level });
  }

  #keep(page: Page): void {
    const { page: number } = page.pointer;
    this.#cache.delete(number);
    this.#cache.set(number, page);
    while (this.#cache.size > 1 && this.cachedBytes > this.#options.cacheBytes) {
      const [oldest] = this.#cache.keys();
      this.#cache.delete(oldest!);
    }
  }
}

function isSame(a: Pointer, b: Pointer): boolean {
  return a.generation === b.generation && a.checksum === b.checksum;
}
