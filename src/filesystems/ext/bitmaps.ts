/**
 * The groups' bitmaps, read and checked, as ranges of used bytes.
 *
 * A bitmap is not read where a descriptor under a checksum tells as much: a group in which nothing is free, and one in which
 * all is free but the filesystem's own blocks. So an almost empty filesystem costs its descriptors and little else.
 *
 * Every bitmap that is read has as many free bits as its descriptor says, calls the filesystem's own blocks used, and has
 * its checksum where there is one. Without one, damage that keeps all of these is not found: see ext/index.ts.
 */
import type { RangeSet } from '../../device/range-set.js';
import type { RunList } from '../run-list.js';
import type { BlockReader } from './blocks.js';
import { rawCrc32c } from './checksums.js';
import { type Descriptors, type Group, groupBlocks, groupStart } from './descriptors.js';
import { demand, type Superblock } from './superblock.js';

/** Bitmaps that are in memory at once. */
const WINDOW_BYTES = 4 * 1024 * 1024;

export interface BitmapsOf {
  readonly sb: Superblock;
  readonly blocks: BlockReader;
  readonly descriptors: Descriptors;
  /** In blocks. */
  readonly own: RangeSet;
}

/** Adds used bytes of the filesystem, ascending, and returns how many blocks are free. Throws Untrusted. */
export async function readBitmaps(of: BitmapsOf, used: RunList): Promise<number> {
  const { sb } = of;
  const window = Math.max(1, Math.floor(WINDOW_BYTES / sb.blockBytes));
  let free = 0;
  for (let first = 0; first < sb.groups; first += window) {
    const groups = range(first, Math.min(first + window, sb.groups)).map((i) => of.descriptors.group(i));
    const unread = groups.filter((group) => needsBitmap(of, group)).map((group) => group.blockBitmap);
    const bitmaps = await of.blocks.each(unread);
    for (const group of groups) {
      free += group.freeClusters * sb.clusterBlocks;
      addGroup(of, group, bitmaps.get(group.blockBitmap), used);
    }
  }
  return free;
}

function clustersIn(sb: Superblock, group: number): number {
  return Math.ceil(groupBlocks(sb, group) / sb.clusterBlocks);
}

function ownIn({ sb, own }: BitmapsOf, group: number): { from: number; to: number }[] {
  const start = groupStart(sb, group);
  return own.within(start, start + groupBlocks(sb, group)).map((range) => ({
    from: (range.start - start) / sb.clusterBlocks,
    to: Math.ceil((range.end - start) / sb.clusterBlocks),
  }));
}

function isOwnAlone(of: BitmapsOf, group: Group): boolean {
  const own = ownIn(of, group.index).reduce((sum, { from, to }) => sum + to - from, 0);
  return group.freeClusters === clustersIn(of.sb, group.index) - own;
}

function needsBitmap(of: BitmapsOf, group: Group): boolean {
  demand(
    group.freeClusters <= clustersIn(of.sb, group.index),
    `its group ${group.index} would have ${group.freeClusters} free clusters`,
  );
  if (group.isUninitialised) {
    demand(
      isOwnAlone(of, group),
      `its group ${group.index} has no bitmap, and ${group.freeClusters} free clusters are not what would then be free`,
    );
    return false;
  }
  if (of.sb.checksums === 'none') return true;
  return group.freeClusters !== 0 && !isOwnAlone(of, group);
}

function addGroup(of: BitmapsOf, group: Group, bitmap: Uint8Array | undefined, used: RunList): void {
  const { sb } = of;
  const start = groupStart(sb, group.index);
  const end = start + groupBlocks(sb, group.index);
  const add = (from: number, to: number): void =>
    used.add(
      (start + from * sb.clusterBlocks) * sb.blockBytes,
      Math.min(end, start + to * sb.clusterBlocks) * sb.blockBytes,
    );
  if (bitmap !== undefined) {
    addBitmap(of, group, bitmap, add);
  } else if (group.freeClusters === 0) {
    add(0, clustersIn(sb, group.index));
  } else {
    for (const { from, to } of ownIn(of, group.index)) add(from, to);
  }
}

function addBitmap(
  of: BitmapsOf,
  group: Group,
  bitmap: Uint8Array,
  add: (from: number, to: number) => void,
): void {
  const { sb } = of;
  const name = `the bitmap of its group ${group.index}`;
  if (sb.checksums === 'crc32c') {
    const sum = rawCrc32c(sb.checksumSeed, bitmap.subarray(0, sb.clustersPerGroup / 8));
    const kept = sb.descriptorBytes >= 64 ? sum : sum & 0xffff;
    demand(kept === group.bitmapChecksum, `the checksum of ${name} is wrong`, true);
  }
  const clusters = clustersIn(sb, group.index);
  let taken = 0;
  eachRun(bitmap, clusters, (from, to) => {
    taken += to - from;
    add(from, to);
  });
  demand(
    clusters - taken === group.freeClusters,
    `${name} has ${clusters - taken} free clusters, and its descriptor says ${group.freeClusters}`,
    true,
  );
  for (const { from, to } of ownIn(of, group.index)) {
    for (let bit = from; bit < to; bit++) {
      demand(
        (bitmap[bit >>> 3]! & (1 << (bit & 7))) !== 0,
        `${name} calls blocks free that hold its own metadata`,
      );
    }
  }
}

/** Runs of set bits below `bits`; bit 0 is the lowest of the first byte. */
export function eachRun(bitmap: Uint8Array, bits: number, found: (from: number, to: number) => void): void {
  let start = -1;
  for (let at = 0; at < bits; ) {
    const byte = bitmap[at >>> 3]!;
    if ((at & 7) === 0 && at + 8 <= bits && (byte === 0 || byte === 0xff)) {
      if (byte === 0 && start >= 0) {
        found(start, at);
        start = -1;
      } else if (byte !== 0 && start < 0) start = at;
      at += 8;
      continue;
    }
    const isSet = (byte & (1 << (at & 7))) !== 0;
    if (isSet && start < 0) start = at;
    if (!isSet && start >= 0) {
      found(start, at);
      start = -1;
    }
    at += 1;
  }
  if (start >= 0) found(start, bits);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
