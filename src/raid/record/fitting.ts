/**
 * What of a list goes into a record, which has room for so many ranges. What has to be listed is all listed, if need be
 * with what lies between (work after a crash, and nothing else); what would only be useful takes the room that is left.
 */
import type { Range, RangeSet } from '../../device/range-set.js';

/** Adds of `ranges`, the last first, as long as the list stays within `room` ranges. */
export function addUseful(listed: RangeSet, ranges: readonly Range[], room: number): void {
  for (const { start, end } of [...ranges].reverse()) {
    if (listed.list().length >= room) return;
    listed.add(start, end);
  }
}

/** At most `room` ranges that cover all of `ranges`: those that lie nearest to each other are joined. */
export function fewer(ranges: readonly Range[], room: number): readonly Range[] {
  if (ranges.length <= room) return ranges;
  const gaps = ranges.slice(1).map(({ start }, index) => start - ranges[index]!.end);
  const limit = [...gaps].sort((a, b) => a - b)[ranges.length - room - 1]!;
  const joined: Range[] = [];
  let left = ranges.length - room;
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && left > 0 && range.start - last.end <= limit) {
      joined[joined.length - 1] = { start: last.start, end: range.end };
      left -= 1;
    } else joined.push(range);
  }
  return joined;
}
