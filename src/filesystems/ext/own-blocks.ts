/**
 * The blocks that a filesystem's own metadata takes by its geometry alone: copies of the superblock and of descriptors, those
 * reserved for more descriptors, bitmaps, tables of inodes. They are used whatever a bitmap says; a group whose bitmap was
 * never written has no others.
 *
 * Source: the kernel's documentation of ext4, sections "Layout", "Flexible Block Groups", "Meta Block Groups".
 */
import { RangeSet } from '../../device/range-set.js';
import { copyStart, type Group, groupStart, hasSuperblock } from './descriptors.js';
import { demand, type Superblock } from './superblock.js';

/** In blocks, rounded outwards to whole clusters. */
export function ownBlocks(sb: Superblock, groups: Iterable<Group>): RangeSet {
  const own = new RangeSet();
  const ratio = sb.clusterBlocks;
  const add = (block: number, count: number): void => {
    const start = sb.firstDataBlock + Math.floor((block - sb.firstDataBlock) / ratio) * ratio;
    const end = sb.firstDataBlock + Math.ceil((block + count - sb.firstDataBlock) / ratio) * ratio;
    own.add(start, Math.min(end, sb.blocks));
  };
  const tableBlocks = Math.ceil((sb.inodesPerGroup * sb.inodeBytes) / sb.blockBytes);
  for (const group of groups) {
    const [start, count] = copiesIn(sb, group.index);
    if (count > 0) add(start, count);
    demand(
      group.inodeTable + tableBlocks <= sb.blocks,
      `its group descriptor ${group.index} names a table of inodes that goes beyond its end`,
    );
    add(group.blockBitmap, 1);
    add(group.inodeBitmap, 1);
    add(group.inodeTable, tableBlocks);
  }
  return own;
}

/** The superblock and descriptors in a group: from which block on, and how many. */
function copiesIn(sb: Superblock, group: number): [number, number] {
  const start = copyStart(sb, group);
  const perBlock = sb.blockBytes / sb.descriptorBytes;
  const metaGroup = Math.floor(group / perBlock);
  let count = hasSuperblock(sb, group) ? 1 : 0;
  if (!sb.hasMetaBg || metaGroup < sb.descriptorBlocksTogether) {
    if (count > 0) count += sb.descriptorBlocksTogether + sb.reservedDescriptorBlocks;
  } else {
    const place = group % perBlock;
    if (place === 0 || place === 1 || place === perBlock - 1) count += 1;
  }
  return [start, Math.min(count, groupStart(sb, group) + sb.blocksPerGroup - start, sb.blocks - start)];
}
