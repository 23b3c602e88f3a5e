/** How much of a list of ranges is kept in memory. */
import type { Range } from './range-set.js';

export interface ListLimits {
  readonly ranges: number;
  /** In all of them: what the ranges count. */
  readonly units: number;
}

/** Of ranges that are apart, the newest last: those that are within the limits. */
export function newestWithin(ranges: readonly Range[], limits: ListLimits): readonly Range[] {
  const newest = ranges.slice(-limits.ranges);
  let room = limits.units;
  const from = newest.findLastIndex((range) => {
    room -= range.end - range.start;
    return room < 0;
  });
  return newest.slice(from + 1);
}
