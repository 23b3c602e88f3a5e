/**
 * Which pages of the tree's place are in use. The newest root's map is on disk beside it (docs/on-disk-format.md); what
 * it says is kept here, and a checkpoint makes the next one of it.
 *
 * Invariants
 * - A page that a durable root's tree has is not given out. It is free for others when a root that does not have it is
 *   durable, and no reader is left that began with an older one.
 * - A checkpoint that came to nothing has changed nothing here.
 */
import { clearBit, countBits, hasBit, noBits, setBit } from '../bits.js';

export class PageMap {
  /** A bit each (../bits.ts). */
  readonly bits: Uint8Array;
  #count: number;

  constructor(
    readonly pages: number,
    bits?: Uint8Array,
  ) {
    this.bits = bits ?? noBits(pages);
    this.#count = countBits(this.bits);
  }

  /** How many are set. */
  get count(): number {
    return this.#count;
  }

  has(page: number): boolean {
    return hasBit(this.bits, page);
  }

  set(page: number): void {
    if (this.has(page)) throw new Error(`page ${page} is in use already`);
    setBit(this.bits, page);
    this.#count += 1;
  }

  clear(page: number): void {
    if (!this.has(page)) throw new Error(`page ${page} is not in use`);
    clearBit(this.bits, page);
    this.#count -= 1;
  }

  copy(): PageMap {
    return new PageMap(this.pages, this.bits.slice());
  }
}

/** The pages of the next root, while they are being written. */
export interface NextPages {
  readonly map: PageMap;
  /** A page that is in no tree yet. */
  allocate(): number;
  /** The next tree does not have it. */
  free(page: number): void;
}

export class FreePages {
  #live: PageMap;
  #generation: number;
  /** Pages that the newest tree does not have, and readers of older ones may: by the last generation that had them. */
  #held: { readonly generation: number; readonly pages: readonly number[] }[] = [];
  readonly #heldPages = new Set<number>();
  readonly #readers = new Map<number, number>();
  #cursor = 0;
  #waiting: (() => void)[] = [];

  constructor(live: PageMap, generation: number) {
    this.#live = live;
    this.#generation = generation;
  }

  get liveCount(): number {
    return this.#live.count;
  }

  get pages(): number {
    return this.#live.pages;
  }

  /** How many can be given out now. */
  get allocatableCount(): number {
    return this.#live.pages - this.#live.count - this.#heldPages.size;
  }

  /** While a reader goes through the newest tree, none of its pages is written. The answer ends that. */
  pin(): () => void {
    const generation = this.#generation;
    this.#readers.set(generation, (this.#readers.get(generation) ?? 0) + 1);
    return () => {
      const left = this.#readers.get(generation)! - 1;
      if (left > 0) this.#readers.set(generation, left);
      else this.#readers.delete(generation);
      this.#release();
    };
  }

  /** Ends when pages that readers hold are free again, if there are any. */
  async released(): Promise<void> {
    if (this.#heldPages.size === 0) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  next(): NextPages & { readonly freed: readonly number[] } {
    const map = this.#live.copy();
    const freed: number[] = [];
    return {
      map,
      freed,
      allocate: () => {
        const page = this.#findFree(map);
        map.set(page);
        return page;
      },
      free: (page) => {
        map.clear(page);
        freed.push(page);
      },
    };
  }

  /** The root of `generation`, which has these pages, is durable. */
  become({ map, freed }: { map: PageMap; freed: readonly number[] }, generation: number): void {
    this.#held.push({ generation: this.#generation, pages: freed });
    for (const page of freed) this.#heldPages.add(page);
    this.#live = map;
    this.#generation = generation;
    this.#release();
  }

  #findFree(map: PageMap): number {
    for (let tried = 0; tried < map.pages; tried++) {
      const page = this.#cursor;
      this.#cursor = (this.#cursor + 1) % map.pages;
      if (!this.#live.has(page) && !map.has(page) && !this.#heldPages.has(page)) return page;
    }
    throw new Error('a checkpoint took more pages than it was given');
  }

  #release(): void {
    const oldest = Math.min(this.#generation, ...this.#readers.keys());
    const isOver = (generation: number) => generation < oldest;
    for (const { generation, pages } of this.#held) {
      if (isOver(generation)) for (const page of pages) this.#heldPages.delete(page);
    }
    this.#held = this.#held.filter(({ generation }) => !isOver(generation));
    if (this.#heldPages.size > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) each();
  }
}
