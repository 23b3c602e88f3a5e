/**
 * Ranges that somebody above has told are written soon (AdvisedDevice). What has to be written down before a write is written down of them
 * while others are written, so that their own writes wait for nothing; what is never written is clean, and only work after a
 * crash. A range leaves when a write of it begins: from then on it is dirty.
 */
import { type ListLimits, newestWithin } from './range-limits.js';
import { type Range, RangeSet } from './range-set.js';

export class ExpectedRanges {
  /** Apart; the newest come last. */
  private ranges: readonly Range[] = [];
  private hasNew = false;

  constructor(
    private readonly limits: ListLimits,
    /** All that there are. */
    private readonly units: number,
  ) {}

  /** Of more than its limits the beginning counts, which is written first. What was told before, is as if told now. Gives those for which there is no room any more. */
  expect(range: Range): readonly Range[] {
    const start = Math.max(0, range.start);
    const end = Math.min(this.units, range.end, start + this.limits.units);
    if (start >= end) return [];
    if (!new RangeSet(this.ranges).covers(start, end)) this.hasNew = true;
    return this.keep([...without(this.ranges, start, end), { start, end }]);
  }

  /** A write of these begins. Gives those for which there is no room any more, as it may part one. */
  begun({ start, end }: Range): readonly Range[] {
    // Every write comes here, and most were not told of.
    const isExpected = this.ranges.some((range) => range.start < end && start < range.end);
    return isExpected ? this.keep(without(this.ranges, start, end)) : [];
  }

  /** The newest last. */
  list(): readonly Range[] {
    return this.ranges;
  }

  /** All of them, when some have come since they were considered; else none: what had no room waits for the next. */
  unconsidered(): readonly Range[] {
    return this.hasNew ? this.ranges : [];
  }

  /** Something was written down, with as many of them as it had room for. */
  considered(): void {
    this.hasNew = false;
  }

  reset(): void {
    this.ranges = [];
    this.hasNew = false;
  }

  private keep(ranges: readonly Range[]): readonly Range[] {
    this.ranges = newestWithin(ranges, this.limits);
    return ranges.slice(0, ranges.length - this.ranges.length);
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
