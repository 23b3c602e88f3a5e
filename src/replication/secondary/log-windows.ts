/**
 * What durable epochs have in the log, read back to be written to the image: many small contents that lie close together in the
 * log are one read. Each by itself was a third of the processor time of a replica that takes 4 KiB at random.
 *
 * Invariant: of the log no more than a window is in memory.
 */
import { allEnded } from '../../device/all-ended.js';
import type { Segment } from './layer.js';
import type { Ring } from './ring.js';

/** Of one read. */
const MOST_READ_BYTES = 1024 * 1024;
/** Heads of records, and what was overwritten since: so much is read and not used rather than read around. */
const GAP_BYTES = 16 * 1024;
const WINDOW_BYTES = 4 * MOST_READ_BYTES;

/** A part of the image, and what is to be there. */
export interface Content {
  readonly start: number;
  /** Excluded. */
  readonly end: number;
  readonly bytes: Uint8Array;
}

/** Positions of the log that are read at once. */
interface Stretch {
  readonly from: number;
  to: number;
  readonly segments: Segment[];
}

/** All segments that have content, a window at a time; in each in the order of the image. */
export async function* contentsOf(ring: Ring, segments: readonly Segment[]): AsyncGenerator<Content[]> {
  for (const window of windowsOf(stretchesOf(segments))) {
    const read = window.map(async ({ from, to, segments: within }) => {
      const bytes = new Uint8Array(to - from);
      await ring.read(from, bytes);
      return within.map((segment) => {
        const at = positionOf(segment) - from;
        const { start, end } = segment;
        return { start, end, bytes: bytes.subarray(at, at + end - start) };
      });
    });
    await allEnded(read);
    yield (await Promise.all(read)).flat().sort((a, b) => a.start - b.start);
  }
}

function stretchesOf(segments: readonly Segment[]): Stretch[] {
  const stretches: Stretch[] = [];
  for (const segment of segments.flatMap(short).sort(byPosition)) {
    const from = positionOf(segment);
    const to = from + segment.end - segment.start;
    const last = stretches.at(-1);
    if (last !== undefined && from - last.to <= GAP_BYTES && to - last.from <= MOST_READ_BYTES) {
      last.to = to;
      last.segments.push(segment);
    } else stretches.push({ from, to, segments: [segment] });
  }
  return stretches;
}

function windowsOf(stretches: readonly Stretch[]): Stretch[][] {
  const windows: Stretch[][] = [];
  let bytes = 0;
  for (const stretch of stretches) {
    bytes += stretch.to - stretch.from;
    if (windows.length === 0 || bytes > WINDOW_BYTES) {
      windows.push([]);
      bytes = stretch.to - stretch.from;
    }
    windows.at(-1)!.push(stretch);
  }
  return windows;
}

/** Zeroes have no content; a long one is in several. */
function short(segment: Segment): Segment[] {
  const { start, end, payload, skip } = segment;
  if (payload === null) return [];
  if (end - start <= MOST_READ_BYTES) return [segment];
  return Array.from({ length: Math.ceil((end - start) / MOST_READ_BYTES) }, (_, at) => ({
    start: start + at * MOST_READ_BYTES,
    end: Math.min(end, start + (at + 1) * MOST_READ_BYTES),
    payload,
    skip: skip + at * MOST_READ_BYTES,
  }));
}

function byPosition(a: Segment, b: Segment): number {
  return positionOf(a) - positionOf(b);
}

function positionOf({ payload, skip }: Segment): number {
  return payload!.position + skip;
}
