/**
 * A set of byte ranges, kept sorted, disjoint and joined. What of a member is valid, which rows' parity is
 * suspect, what a resync has left to do: all are such sets.
 */

/** From `start` (included) to `end` (excluded), in bytes. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export class RangeSet {
  private ranges: Range[] = [];
  private bytes = 0;

  constructor(ranges: Iterable<Range> = []) {
    for (const range of ranges) this.add(range.start, range.end);
  }

  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  /** The lowest byte in the set, or null. */
  get first(): number | null {
    return this.ranges[0]?.start ?? null;
  }

  get totalBytes(): number {
    return this.bytes;
  }

  list(): readonly Range[] {
    return this.ranges;
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    const from = this.firstEndingAtOrAfter(start);
    let to = from;
    let joinedStart = start;
    let joinedEnd = end;
    for (let range = this.ranges[to]; range !== undefined && range.start <= end; range = this.ranges[++to]) {
      joinedStart = Math.min(joinedStart, range.start);
      joinedEnd = Math.max(joinedEnd, range.end);
      this.bytes -= range.end - range.start;
    }
    this.bytes += joinedEnd - joinedStart;
    this.ranges.splice(from, to - from, { start: joinedStart, end: joinedEnd });
  }

  remove(start: number, end: number): void {
    if (start >= end) return;
    const from = this.firstEndingAtOrAfter(start + 1);
    let to = from;
    const rest: Range[] = [];
    for (let range = this.ranges[to]; range !== undefined && range.start < end; range = this.ranges[++to]) {
      if (range.start < start) rest.push({ start: range.start, end: start });
      if (range.end > end) rest.push({ start: end, end: range.end });
      this.bytes -= Math.min(range.end, end) - Math.max(range.start, start);
    }
    this.ranges.splice(from, to - from, ...rest);
  }

  overlaps(start: number, end: number): boolean {
    if (start >= end) return false;
    const range = this.ranges[this.firstEndingAtOrAfter(start + 1)];
    return range !== undefined && range.start < end;
  }

  covers(start: number, end: number): boolean {
    if (start >= end) return true;
    const range = this.ranges[this.firstEndingAtOrAfter(end)];
    return range !== undefined && range.start <= start;
  }

  /** What of [start, end) is in the set. */
  within(start: number, end: number): Range[] {
    if (start >= end) return [];
    const found: Range[] = [];
    for (let i = this.firstEndingAtOrAfter(start + 1); i < this.ranges.length; i++) {
      const range = this.ranges[i]!;
      if (range.start >= end) break;
      found.push({ start: Math.max(range.start, start), end: Math.min(range.end, end) });
    }
    return found;
  }

  /** What of [start, end) is not in the set. */
  without(start: number, end: number): Range[] {
    const missing: Range[] = [];
    let at = start;
    for (const range of this.within(start, end)) {
      if (at < range.start) missing.push({ start: at, end: range.start });
      at = range.end;
    }
    if (at < end) missing.push({ start: at, end });
    return missing;
  }

  private firstEndingAtOrAfter(at: number): number {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ranges[middle]!.end < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
