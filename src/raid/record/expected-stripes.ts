/**
 * Stripes that somebody above has told are written soon (AdvisedDevice). As those ahead of a stream they are listed while
 * others are written, so that their own writes wait for no record; what is listed and never written is clean, and only
 * work after a crash. A stripe leaves when a write of it begins: from then on it is dirty.
 */
import { type Range, RangeSet } from '../../device/range-set.js';
import { type ListLimits, newestWithin } from './fitting.js';

export class ExpectedStripes {
  /** Apart; the newest come last. */
  private ranges: readonly Range[] = [];
  private hasNew = false;

  constructor(
    private readonly limits: ListLimits,
    /** Of the array. */
    private readonly stripes: number,
  ) {}

  /** Of more than its limits the beginning counts, which is written first. What was told before, is as if told now. */
  expect(range: Range): void {
    const start = Math.max(0, range.start);
    const end = Math.min(this.stripes, range.end, start + this.limits.stripes);
    if (start >= end) return;
    if (!new RangeSet(this.ranges).covers(start, end)) this.hasNew = true;
    this.keep([...without(this.ranges, start, end), { start, end }]);
  }

  /** A write of these begins. */
  begun({ start, end }: Range): void {
    // Every write comes here, and most were not told of.
    const isExpected = this.ranges.some((range) => range.start < end && start < range.end);
    if (isExpected) this.keep(without(this.ranges, start, end));
  }

  /** The newest last. */
  list(): readonly Range[] {
    return this.ranges;
  }

  /** All of them, when some have come since a record was put together; else none: what had no room waits for the next. */
  unconsidered(): readonly Range[] {
    return this.hasNew ? this.ranges : [];
  }

  /** A record was put together, with as many of them as it had room for. */
  considered(): void {
    this.hasNew = false;
  }

  reset(): void {
    this.ranges = [];
    this.hasNew = false;
  }

  private keep(ranges: readonly Range[]): void {
    this.ranges = newestWithin(ranges, this.limits);
  }
}

function without(ranges: readonly Range[], start: number, end: number): Range[] {
  return ranges.flatMap((range) =>
    [
      { start: range.start, end: Math.min(range.end, start) },
      { start: Math.max(range.start, end), end: range.end },
    ].filter((rest) => rest.start < rest.end),
  );
}
