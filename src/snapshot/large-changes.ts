/**
 * Changes of large ranges without data, trims and zeroing, of which the old content is kept: how much at a time, and what of it need
 * not be read.
 */
import type { BlockDevice, Extent } from '../device/contract.js';
import { RangeSet } from '../device/range-set.js';
import { BLOCK_BYTES, type BlockRange, blocksFilled } from '../replication/blocks.js';

const MIB = 1024 * 1024;
/** Content that is kept at once: it is in memory until it is durable. */
const CONTENT_BYTES = 8 * MIB;
const FIRST_BYTES = 64 * MIB;
/** Others who change something there wait until a piece is done, however little of it has content. */
const LONGEST_BYTES = 1024 * MIB;
/** A filesystem may look through all of a file for the next hole: to read some blocks is less. */
const SHORT_BLOCKS = 64;

/** The range in pieces, each with so much content at most, or `smallBytes` long where holes cost as much as content. */
export async function inPieces(
  lower: BlockDevice,
  { offset, length, smallBytes }: { offset: number; length: number; smallBytes: () => number | null },
  body: (offset: number, length: number) => Promise<void>,
): Promise<void> {
  const end = offset + length;
  let most = FIRST_BYTES;
  for (let at = offset; at < end; ) {
    const small = smallBytes();
    const upTo = (bytes: number) => Math.min(end, (Math.floor(at / bytes) + 1) * bytes);
    const whole = upTo(small ?? most);
    const stop = small === null ? await contentEnd(lower, at, whole) : whole;
    await body(at, stop - at);
    // It is looked no further ahead than it goes, or not by much.
    most = stop === whole ? Math.min(most * 2, LONGEST_BYTES) : FIRST_BYTES;
    at = stop;
  }
}

/** Where there is too much content for one piece, or `end`. */
async function contentEnd(lower: BlockDevice, start: number, end: number): Promise<number> {
  if (end - start <= CONTENT_BYTES) return end;
  let left = CONTENT_BYTES;
  for (const { offset, length, kind } of await extentsOf(lower, start, end - start)) {
    if (kind !== 'data') continue;
    if (length > left) return Math.ceil((offset + left) / BLOCK_BYTES) * BLOCK_BYTES;
    left -= length;
  }
  return end;
}

/** Where nobody can tell it may all be content: what is asked for is done all the same. */
function extentsOf(lower: BlockDevice, offset: number, length: number): Promise<readonly Extent[]> {
  return lower.extents(offset, length).catch(() => [{ offset, length, kind: 'data' as const }]);
}

/** Those of the blocks that may hold anything, and those that are zeroes; null: to ask is not worth it. */
export async function apart(
  lower: BlockDevice,
  ranges: readonly BlockRange[],
): Promise<{ readonly data: BlockRange[]; readonly zeroes: BlockRange[] } | null> {
  const [first, last] = [ranges[0], ranges.at(-1)];
  if (first === undefined || last === undefined) return null;
  if (ranges.reduce((sum, { count }) => sum + count, 0) <= SHORT_BLOCKS) return null;
  const offset = first.from * BLOCK_BYTES;
  const length = Math.min((last.from + last.count) * BLOCK_BYTES, lower.size) - offset;
  const holes = new RangeSet();
  for (const extent of await extentsOf(lower, offset, length)) {
    if (extent.kind === 'data') continue;
    const { from, count } = blocksFilled(extent.offset, extent.length, lower.size);
    holes.add(from, from + count);
  }
  const blocks = ({ start, end }: { start: number; end: number }) => ({ from: start, count: end - start });
  const each = (body: (start: number, end: number) => { start: number; end: number }[]) =>
    ranges.flatMap(({ from, count }) => body(from, from + count).map(blocks));
  return {
    data: each((start, end) => [...holes.without(start, end)]),
    zeroes: each((start, end) => [...holes.within(start, end)]),
  };
}
