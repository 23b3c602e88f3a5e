/**
 * Arrays whose dirty-stripe record is in a known state when a round begins: it lists nothing that the round writes,
 * or all of it. And what a round made of it: records are counted by their numbers on disk, so that nothing which
 * writes them is asked how many they were.
 */
import type { RaidArray } from '../raid/array.js';
import { setUuidBytes } from '../raid/md/uuid.js';
import { goodRecords, readPlace } from '../raid/record/index.js';
import type { Sample } from './bench.js';
import { type BenchArray, MEMBERS } from './bench-array.js';
import { measured } from './counting-device.js';
import { performWrites, scattered, type Workload } from './workload.js';

export const BLOCK_BYTES = 4096;
/** Of the arrays that are made here (bench-array.ts): chunks of 64 KiB. */
export const STRIPE_BYTES = 64 * 1024 * (MEMBERS - 1);
const STRIPE_BLOCKS = STRIPE_BYTES / BLOCK_BYTES;
/** Fewer than what stays listed because it was written lately (raid/record/record-intent.ts). */
const HOT_STRIPES = 64;
const BLOCK = new Uint8Array(BLOCK_BYTES).fill(0x5a);

/** One 4 KiB write to each of `count` stripes, which are all others. The last stripe of the array is never one. */
export function differentStripes(count: number, arrayBytes: number): number[] {
  const stripes = Math.floor(arrayBytes / STRIPE_BYTES) - 1;
  return scattered(count, 1, stripes).map(
    (stripe, index) => stripe * STRIPE_BYTES + ((index * 7) % STRIPE_BLOCKS) * BLOCK_BYTES,
  );
}

/** As many 4 KiB writes, to few stripes; none of `depth` that follow each other is to the stripe of another. */
export function fewStripes(count: number, arrayBytes: number): number[] {
  const hot = differentStripes(HOT_STRIPES, arrayBytes).map((offset) => offset - (offset % STRIPE_BYTES));
  return Array.from(
    { length: count },
    (_, index) => hot[index % HOT_STRIPES]! + (Math.floor(index / HOT_STRIPES) % STRIPE_BLOCKS) * BLOCK_BYTES,
  );
}

/** The array is active, and of its stripes the last one alone is listed. */
export async function listNothing({ array, volume }: BenchArray): Promise<void> {
  await volume?.flush();
  await array.flush();
  await array.activity.rest();
  await array.write(array.size - BLOCK_BYTES, BLOCK);
  await array.flush();
}

/** The array is active, nothing is dirty, and the stripes of all these offsets are listed, if they are few. */
export async function listAll(opened: BenchArray, offsets: readonly number[]): Promise<void> {
  await listNothing(opened);
  const workload: Workload = { title: 'list', requestBytes: BLOCK_BYTES, offsets, depth: HOT_STRIPES };
  await performWrites(workload, opened.array, BLOCK);
}

/** Does `work`, and counts the records that were written for it. What it leaves unflushed is flushed afterwards. */
export async function measuredRecords(
  { array, volume, tally }: BenchArray,
  work: () => Promise<unknown>,
): Promise<Sample> {
  const before = await newestGeneration(array);
  const sample = await measured(tally, work);
  const records = (await newestGeneration(array)) - before;
  await volume?.flush();
  await array.flush();
  return { ...sample, counts: { ...sample.counts, records } };
}

/** 0: there is none. */
async function newestGeneration({ core, record }: RaidArray): Promise<number> {
  const uuid = setUuidBytes(core.slotMembers()[0]!.superblock);
  const found = await Promise.all(record.places.map((place) => readPlace(place, uuid)));
  const generations = goodRecords(found.flat()).map(({ record: { generation } }) => Number(generation));
  return Math.max(0, ...generations);
}
