/**
 * The unit in which replication tracks: a block of 4 KiB, whatever the block size of the device (coordinated dirty block
 * tracking, paragraphs 10 and 57: blocks, not regions). All ranges of this layer are of blocks, but where a name ends in Bytes.
 */

export const BLOCK_BYTES = 4096;

/** Blocks that follow one another. */
export interface BlockRange {
  readonly from: number;
  readonly count: number;
}

/** How many a device has; the last may be short. */
export function blocksOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES);
}

/** Those that bytes fill, to the last one; the last of the device may be short. */
export function blocksFilled(offsetBytes: number, lengthBytes: number, sizeBytes: number): BlockRange {
  const from = blocksOf(offsetBytes);
  const end = offsetBytes + lengthBytes;
  const until = end === sizeBytes ? blocksOf(sizeBytes) : Math.floor(end / BLOCK_BYTES);
  return { from, count: Math.max(0, until - from) };
}

/** Those that bytes lie in, whole or in part. */
export function blocksWithin(offsetBytes: number, lengthBytes: number): BlockRange {
  const from = Math.floor(offsetBytes / BLOCK_BYTES);
  return { from, count: lengthBytes === 0 ? 0 : blocksOf(offsetBytes + lengthBytes) - from };
}

export function overlap(a: BlockRange, b: BlockRange): boolean {
  return a.from < b.from + b.count && b.from < a.from + a.count;
}

/** Ranges that are being gathered. */
export type GrowingRanges = { from: number; count: number }[];

/** Adds a block that lies behind all that are there: where it follows the last range, that grows. */
export function appendBlock(ranges: GrowingRanges, block: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last.from + last.count === block) last.count += 1;
  else ranges.push({ from: block, count: 1 });
}
