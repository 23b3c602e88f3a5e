/**
 * Which blocks of a volume are in use at a moment (online backup, step 910): of a volume of files all but its free extents, of a
 * raw one what its filesystems say and all that is in none; what reads as zeroes by itself is left out of both.
 */
import type { BlockDevice } from '../../device/contract.js';
import { RangeSet } from '../../device/range-set.js';
import { findSuperblock } from '../../extents/format/superblock-copies.js';
import { usedRanges, withoutHoles } from '../../filesystems/index.js';
import { openEngine } from '../../metadata/engine/open-engine.js';
import { freeExtents } from '../../metadata/server/free-extents.js';
import { blocksOf, blocksWithin } from '../../replication/blocks.js';
import { BlockMap } from '../../replication/map/block-map.js';
import { assertInOneImage } from '../in-one-image.js';
import type { Volume } from '../model.js';

export interface ListOptions {
  /** All that is no hole. */
  readonly allBlocks: boolean;
  readonly warn: (message: string) => void;
}

/** `view` shows the volume at the moment. A block that is used in part is used. */
export async function usedBlocks(
  { role, label }: Pick<Volume, 'role' | 'label'>,
  view: BlockDevice,
  { allBlocks, warn }: ListOptions,
): Promise<BlockMap> {
  await assertInOneImage({ role, label }, view);
  const used = new BlockMap(blocksOf(view.size));
  const all = new RangeSet([{ start: 0, end: view.size }]);
  const ranges = allBlocks
    ? await withoutHoles(view, all)
    : role === 'volume'
      ? await withoutHoles(view, await ofFiles(view, all, warn))
      : (await usedRanges(view)).ranges;
  for (const { start, end } of ranges.list()) used.set(blocksWithin(start, end - start));
  return used;
}

async function ofFiles(view: BlockDevice, all: RangeSet, warn: (message: string) => void): Promise<RangeSet> {
  const found = await findSuperblock(view);
  if (found === null) return all;
  const { metadata, pool, extentBytes } = found.superblock;
  const engine = await openEngine(
    { device: view, ...metadata! },
    { readOnly: true, warn: ({ message }) => warn(message) },
  );
  try {
    for await (const { from, count } of freeExtents(engine)) {
      const start = pool!.offset + from * extentBytes;
      all.remove(start, start + count * extentBytes);
    }
    return all;
  } finally {
    await engine.close();
  }
}
