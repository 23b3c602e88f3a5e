/**
 * What is read or written in the benches of volumes: where, how much at once, and how many requests are in
 * flight. All contenders of a comparison run the same workload.
 */
import type { BlockDevice } from '../device/contract.js';

/** Requests of one size, at offsets that do not overlap. */
export interface Workload {
  readonly title: string;
  readonly requestBytes: number;
  readonly offsets: readonly number[];
  /** Requests in flight. */
  readonly depth: number;
  /** Requests between two flushes; absent: one flush at the end. */
  readonly flushEvery?: number;
  /** Flushes that may be under way while what follows is written; absent: each is waited for. */
  readonly flushesUnderWay?: number;
}

/** From the start on, one request after the other. */
export function inOrder(count: number, requestBytes: number): number[] {
  return Array.from({ length: count }, (_, index) => index * requestBytes);
}

/** `count` different multiples of `requestBytes` below `end`, in an order that is the same every time. */
export function scattered(count: number, requestBytes: number, end: number): number[] {
  const offsets = inOrder(Math.floor(end / requestBytes), requestBytes);
  if (offsets.length < count) throw new RangeError(`${end} bytes do not hold ${count} different requests`);
  let state = 1;
  for (let at = 0; at < count; at++) {
    // The first steps of a shuffle; the generator is the one of Numerical Recipes (ranqd1).
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = at + Math.floor((state / 2 ** 32) * (offsets.length - at));
    [offsets[at], offsets[other]] = [offsets[other]!, offsets[at]!];
  }
  return offsets.slice(0, count);
}

/**
 * Makes every request, `depth` at a time and started in order; `flush` begins when all before it have ended, and all
 * flushes have ended when this does. `lane` numbers those in flight: each may have a buffer of its own.
 */
export async function perform(
  { offsets, depth, flushEvery = offsets.length, flushesUnderWay = 0 }: Workload,
  request: (offset: number, lane: number) => Promise<void>,
  flush: () => Promise<void> = async () => undefined,
): Promise<void> {
  const flushes: Promise<void>[] = [];
  for (let start = 0; start < offsets.length; start += flushEvery) {
    const end = Math.min(start + flushEvery, offsets.length);
    let next = start;
    const worker = async (_: unknown, lane: number): Promise<void> => {
      while (next < end) await request(offsets[next++]!, lane);
    };
    await Promise.all(Array.from({ length: Math.min(depth, end - start) }, worker));
    const flushed = flush();
    // Its failure is thrown where it is waited for, which may be later, or never where a request fails first.
    flushed.catch(() => undefined);
    flushes.push(flushed);
    if (flushes.length > flushesUnderWay) await flushes.shift();
  }
  await Promise.all(flushes);
}

/** Every request writes the same bytes. */
export function performWrites(
  workload: Workload,
  to: Pick<BlockDevice, 'write' | 'flush'>,
  data: Uint8Array,
): Promise<void> {
  return perform(
    workload,
    (offset) => to.write(offset, data),
    () => to.flush(),
  );
}

export function totalBytes({ offsets, requestBytes }: Workload): number {
  return offsets.length * requestBytes;
}
