/**
 * Compares a secondary with its primary while both are in use. What is written meanwhile may differ for good reasons: blocks
 * that differ are looked at again when what was on its way has arrived, and only what differs then, while nobody writes to it,
 * is said to differ.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { appendBlock, BLOCK_BYTES, type BlockRange, blocksOf, type GrowingRanges } from './blocks.js';
import type { Replica } from './replica.js';
import type { Tracker } from './tracking/tracker.js';

const PIECE_BLOCKS = 256;
/** Blocks that are written to again and again are looked at so often. */
const MOST_LOOKS = 20;

export interface VerifyParts {
  readonly replica: Replica;
  readonly tracker: Tracker;
  readonly primary: BlockDevice;
  /** It was never copied, and need not be. */
  readonly isUncopied: (block: number) => boolean;
  /** Ends when what was written by now is on the secondary. */
  readonly settle: () => Promise<unknown>;
}

export interface DifferingRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface Verified {
  /** Of the volume, all but what was never copied. */
  readonly checkedBytes: number;
  readonly neverCopiedBytes: number;
  readonly differingBlocks: number;
  readonly differingBytes: number;
  readonly ranges: readonly DifferingRange[];
  /** Written to whenever it was looked at: nothing is said of them. */
  readonly busyBlocks: number;
}

/** Throws what either side fails with, and where the secondary is lost meanwhile. */
export async function verify(parts: VerifyParts, signal: AbortSignal): Promise<Verified> {
  const { primary } = parts;
  const suspects: BlockRange[] = [];
  let neverCopiedBytes = 0;
  for (let from = 0; from < blocksOf(primary.size); from += PIECE_BLOCKS) {
    signal.throwIfAborted();
    const count = Math.min(PIECE_BLOCKS, blocksOf(primary.size) - from);
    const blocks = (await differing(parts, { from, count })).filter((block) => !parts.isUncopied(block));
    neverCopiedBytes += uncopiedBytes(parts, { from, count });
    suspects.push(...blocks.map((block) => ({ from: block, count: 1 })));
  }
  const found = await lookAgain(parts, suspects, signal);
  return {
    checkedBytes: primary.size - neverCopiedBytes,
    neverCopiedBytes,
    differingBlocks: found.differing.length,
    differingBytes: found.differing.length * BLOCK_BYTES,
    ranges: joined(found.differing, primary.size),
    busyBlocks: found.busy.length,
  };
}

async function lookAgain(
  parts: VerifyParts,
  suspects: readonly BlockRange[],
  signal: AbortSignal,
): Promise<{ differing: number[]; busy: BlockRange[] }> {
  let left = [...suspects];
  const certain: number[] = [];
  for (let look = 0; left.length > 0 && look < MOST_LOOKS; look++) {
    await parts.settle();
    const busy: BlockRange[] = [];
    for (const range of left) {
      signal.throwIfAborted();
      const found = await differingQuietly(parts, range);
      if (found === null) busy.push(range);
      else certain.push(...found);
    }
    left = busy;
  }
  return { differing: certain, busy: left };
}

function uncopiedBytes({ primary, isUncopied }: VerifyParts, { from, count }: BlockRange): number {
  let bytes = 0;
  for (let block = from; block < from + count; block++)
    if (isUncopied(block)) bytes += Math.min(BLOCK_BYTES, primary.size - block * BLOCK_BYTES);
  return bytes;
}

/**
 * null: something of it was on its way, or somebody began to write to it. Writes wait for the primary's read alone: the
 * secondary may take its time.
 */
async function differingQuietly(parts: VerifyParts, range: BlockRange): Promise<number[] | null> {
  const { tracker, replica, primary } = parts;
  const watch = tracker.watch(range);
  try {
    let isDirty = false;
    const here = bufferFor(primary, range);
    const isQuiet = await tracker.copy(range, () => {
      isDirty = replica.isDirty(range);
      return primary.read(range.from * BLOCK_BYTES, here);
    });
    if (!isQuiet || isDirty) return null;
    const there = await readThere(parts, range);
    return watch.isTouched ? null : unlike(range, here, there);
  } finally {
    tracker.unwatch(watch);
  }
}

/** Blocks of the range that are not alike now. */
async function differing(parts: VerifyParts, range: BlockRange): Promise<number[]> {
  const here = bufferFor(parts.primary, range);
  const [there] = await Promise.all([
    readThere(parts, range),
    parts.primary.read(range.from * BLOCK_BYTES, here),
  ]);
  return unlike(range, here, there);
}

async function readThere({ replica, primary }: VerifyParts, range: BlockRange): Promise<Buffer> {
  const { secondary } = replica;
  if (secondary === null)
    throw new UserError('IO_ERROR', `replica ${replica.name} was lost: ${replica.reason}`);
  const there = bufferFor(primary, range);
  await secondary.read(range.from * BLOCK_BYTES, there);
  return there;
}

function bufferFor({ size }: BlockDevice, { from, count }: BlockRange): Buffer {
  return Buffer.alloc(Math.min(count * BLOCK_BYTES, size - from * BLOCK_BYTES));
}

function unlike({ from, count }: BlockRange, here: Buffer, there: Buffer): number[] {
  if (here.equals(there)) return [];
  return Array.from({ length: count }, (_, i) => i)
    .filter((i) => !part(here, i).equals(part(there, i)))
    .map((i) => from + i);
}

function part(bytes: Buffer, block: number): Buffer {
  return bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
}

function joined(blocks: readonly number[], sizeBytes: number): DifferingRange[] {
  const ranges: GrowingRanges = [];
  for (const block of [...blocks].sort((a, b) => a - b)) {
    appendBlock(ranges, block);
  }
  return ranges.map(({ from, count }) => {
    const offsetBytes = from * BLOCK_BYTES;
    return { offsetBytes, lengthBytes: Math.min(count * BLOCK_BYTES, sizeBytes - offsetBytes) };
  });
}
