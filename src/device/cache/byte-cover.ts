/**
 * Which bytes of one block something is true of (valid, dirty): none, all, or some ranges. Blocks are nearly
 * always all or nothing, and then no list of ranges is kept.
 */
import { type Range, RangeSet } from '../range-set.js';

export class ByteCover {
  #isFull = false;
  /** null unless some but not all bytes are covered. */
  #ranges: RangeSet | null = null;

  /** `length` of the block, in bytes. */
  constructor(readonly length: number) {}

  get isFull(): boolean {
    return this.#isFull;
  }

  get isEmpty(): boolean {
    return !this.#isFull && this.#ranges === null;
  }

  add(start: number, end: number): void {
    if (this.#isFull || start >= end) return;
    if (end - start < this.length) {
      this.#ranges ??= new RangeSet();
      this.#ranges.add(start, end);
      if (!this.#ranges.covers(0, this.length)) return;
    }
    this.#isFull = true;
    this.#ranges = null;
  }

  addAll(other: ByteCover): void {
    for (const { start, end } of other.list()) this.add(start, end);
  }

  covers(start: number, end: number): boolean {
    return this.#isFull || start >= end || this.#ranges?.covers(start, end) === true;
  }

  list(): readonly Range[] {
    if (this.#isFull) return [{ start: 0, end: this.length }];
    return this.#ranges?.list() ?? [];
  }

  /** What of [start, end) is not covered. */
  gaps(start: number, end: number): Range[] {
    if (this.#isFull) return [];
    const gaps = new RangeSet([{ start, end }]);
    for (const range of this.list()) gaps.remove(range.start, range.end);
    return [...gaps.list()];
  }
}
