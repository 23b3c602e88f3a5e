/**
 * What some epochs make of the image: ranges, and where in the log their content lies. Later entries hide earlier ones;
 * layers lie over one another in the same way, the newest on top and the image below all.
 *
 * Invariant: segments are sorted and disjoint.
 */

/** The content of one entry of a log. */
export interface Payload {
  /** In the log, of its first byte; -1: it has no place yet. */
  position: number;
  /** Ends when it is in the log; null: it is. */
  written: Promise<void> | null;
}

/** `P`: where its content is. */
export interface Segment<P = Payload> {
  readonly start: number;
  /** Excluded. */
  readonly end: number;
  /** null: it reads as zeroes. */
  readonly payload: P | null;
  /** Bytes of the payload before it. */
  readonly skip: number;
}

export class Layer<P = Payload> {
  private segments: Segment<P>[] = [];

  get isEmpty(): boolean {
    return this.segments.length === 0;
  }

  list(): readonly Segment<P>[] {
    return this.segments;
  }

  put(start: number, end: number, payload: P | null, skip = 0): void {
    const from = this.firstEndingAfter(start);
    let to = from;
    const rest: Segment<P>[] = [{ start, end, payload, skip }];
    for (let each = this.segments[to]; each !== undefined && each.start < end; each = this.segments[++to]) {
      if (each.start < start) rest.unshift(cut(each, each.start, start));
      if (each.end > end) rest.push(cut(each, end, each.end));
    }
    this.segments.splice(from, to - from, ...rest);
  }

  /** Lays a newer one over it. */
  merge(newer: Layer<P>): void {
    if (this.isEmpty) this.segments = [...newer.segments];
    else for (const { start, end, payload, skip } of newer.segments) this.put(start, end, payload, skip);
  }

  /** What of [start, end) it has, in order. */
  within(start: number, end: number): Segment<P>[] {
    const found: Segment<P>[] = [];
    for (let at = this.firstEndingAfter(start); at < this.segments.length; at++) {
      const each = this.segments[at]!;
      if (each.start >= end) break;
      found.push(cut(each, Math.max(each.start, start), Math.min(each.end, end)));
    }
    return found;
  }

  private firstEndingAfter(at: number): number {
    let [low, high] = [0, this.segments.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.segments[middle]!.end <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function cut<P>(segment: Segment<P>, start: number, end: number): Segment<P> {
  if (start === segment.start && end === segment.end) return segment;
  return { start, end, payload: segment.payload, skip: segment.skip + start - segment.start };
}

/** A part of a range: what a layer has of it, or what lies below all (null). */
export interface Part<P = Payload> {
  readonly start: number;
  readonly end: number;
  readonly segment: Segment<P> | null;
}

/** [start, end) as the layers show it, in order; the first layer is on top. */
export function partsOf<P = Payload>(layers: readonly Layer<P>[], start: number, end: number): Part<P>[] {
  let parts: Part<P>[] = [{ start, end, segment: null }];
  for (const layer of layers) {
    if (layer.isEmpty) continue;
    parts = parts.flatMap((part) => (part.segment === null ? split(part, layer) : [part]));
  }
  return parts;
}

function split<P>({ start, end }: Part<P>, layer: Layer<P>): Part<P>[] {
  const parts: Part<P>[] = [];
  let at = start;
  for (const segment of layer.within(start, end)) {
    if (at < segment.start) parts.push({ start: at, end: segment.start, segment: null });
    parts.push({ start: segment.start, end: segment.end, segment });
    at = segment.end;
  }
  if (at < end) parts.push({ start: at, end, segment: null });
  return parts;
}
