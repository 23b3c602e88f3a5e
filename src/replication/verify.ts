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
  readonly checkedBytes: number;
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
  for (let from = 0; from < blocksOf(primary.size); from += PIECE_BLOCKS) {
    signal.throwIfAborted();
    const count = Math.min(PIECE_BLOCKS, blocksOf(primary.size) - from);
    const blocks = (await differing(parts, { from, count })).filter((block) => !parts.isUncopied(block));
    suspects.push(...blocks.map((block) => ({ from: block, count: 1 })));
  }
  const found = await lookAgain(parts, suspects, signal);
  return {
    checkedBytes: primary.size,
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
      const isQuiet = await parts.tracker.copy(range, async () => {
        if (parts.replica.isDirty(range)) busy.push(range);
        else certain.push(...(await differing(parts, range)));
      });
      if (!isQuiet) busy.push(range);
    }
    left = busy;
  }
  return { differing: certain, busy: left };
}

/** Blocks of the range that are not alike now. */
async function differing({ replica, primary }: VerifyParts, { from, count }: BlockRange): Promise<number[]> {
  const { secondary } = replica;
  if (secondary === null)
    throw new UserError('IO_ERROR', `replica ${replica.name} was lost: ${replica.reason}`);
  const offset = from * BLOCK_BYTES;
  const length = Math.min(count * BLOCK_BYTES, primary.size - offset);
  const [a, b] = [Buffer.alloc(length), Buffer.alloc(length)];
  await Promise.all([primary.read(offset, a), secondary.read(offset, b)]);
  if (a.equals(b)) return [];
  return Array.from({ length: count }, (_, i) => i)
    .filter((i) => !part(a, i).equals(part(b, i)))
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
