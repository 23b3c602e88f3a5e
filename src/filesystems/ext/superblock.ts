/**
 * The superblock of ext2, ext3 and ext4, checked, and the geometry that follows from it.
 *
 * Every feature is known by name here: one that is not, of whichever of the three kinds, may change what a bitmap means
 * (bigalloc is but "read-only compatible"), so that the filesystem is not trusted.
 */
import { type Region, Untrusted } from '../contract.js';
import { FIRST_SEED, rawCrc32c } from './checksums.js';
import { DESCRIPTOR, SUPERBLOCK, SUPERBLOCK_MAGIC } from './fields.js';

const COMPAT = { journal: 0x4, resizeInode: 0x10, sparseSuper2: 0x200 } as const;
const KNOWN_COMPAT = 0x3f | 0x200 | 0x400 | 0x800 | 0x1000;

const INCOMPAT = {
  recover: 0x4,
  journalDevice: 0x8,
  metaBg: 0x10,
  bits64: 0x80,
  checksumSeed: 0x2000,
} as const;
const KNOWN_INCOMPAT = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x3e000;
/** extents, 64bit, mmp, flex_bg and later. */
const INCOMPAT_OF_EXT4 = ~0x1f;

const RO_COMPAT = { sparseSuper: 0x1, groupChecksum: 0x10, bigalloc: 0x200, checksums: 0x400 } as const;
const KNOWN_RO_COMPAT = 0x7b | 0x100 | 0x200 | 0x400 | 0x1000 | 0x1e000;
/** All but sparse_super, large_file. */
const RO_COMPAT_OF_EXT4 = ~0x7;

const STATE = { valid: 1, errors: 2 } as const;
const MAX_GROUPS = 2 ** 22;

/** All numbers of blocks are of the filesystem's own blocks, from its first byte on. */
export interface Superblock {
  readonly kind: 'ext2' | 'ext3' | 'ext4';
  readonly uuid: Uint8Array;
  readonly label: string;
  readonly blockBytes: number;
  readonly clusterBlocks: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly clustersPerGroup: number;
  readonly inodesPerGroup: number;
  readonly inodeBytes: number;
  readonly groups: number;
  readonly descriptorBytes: number;
  readonly reservedDescriptorBlocks: number;
  /** Blocks of descriptors that lie together behind the superblock; the others are spread (meta_bg). */
  readonly descriptorBlocksTogether: number;
  readonly descriptorBlocks: number;
  readonly hasMetaBg: boolean;
  readonly backups: 'all' | 'sparse' | readonly number[];
  /** Of descriptors; `crc32c` of all metadata. */
  readonly checksums: 'none' | 'crc16' | 'crc32c';
  readonly checksumSeed: number;
  readonly hasJournal: boolean;
  readonly journalInode: number;
  readonly needsRecovery: boolean;
}

export function isExt(bytes: Uint8Array): boolean {
  return SUPERBLOCK.at(bytes).number('magic') === SUPERBLOCK_MAGIC;
}

/** For what is told of a filesystem even where it is not trusted. */
export function nameOf(bytes: Uint8Array): Pick<Superblock, 'kind' | 'uuid' | 'label'> {
  const view = SUPERBLOCK.at(bytes);
  const hasExt4 =
    (view.number('incompat') & INCOMPAT_OF_EXT4) !== 0 ||
    (view.number('ro_compat') & RO_COMPAT_OF_EXT4) !== 0;
  const hasJournal = (view.number('compat') & COMPAT.journal) !== 0;
  const label = new TextDecoder().decode(view.bytes('label'));
  const end = label.indexOf('\0');
  return {
    kind: hasExt4 ? 'ext4' : hasJournal ? 'ext3' : 'ext2',
    uuid: view.bytes('uuid').slice(),
    label: end < 0 ? label : label.slice(0, end),
  };
}

export function needsRecovery(bytes: Uint8Array): boolean {
  return (SUPERBLOCK.at(bytes).number('incompat') & INCOMPAT.recover) !== 0;
}

/** Throws Untrusted. `bytes` are the 1024 of the superblock, `region` is what there is for the filesystem. */
export function parseSuperblock(bytes: Uint8Array, region: Pick<Region, 'lengthBytes'>): Superblock {
  const view = SUPERBLOCK.at(bytes);
  demand(view.number('magic') === SUPERBLOCK_MAGIC, 'its superblock has lost its magic number');
  demand(view.number('revision') <= 1, `its revision is ${view.number('revision')}`);
  const compat = view.number('compat');
  const incompat = view.number('incompat');
  const roCompat = view.number('ro_compat');
  if (roCompat & RO_COMPAT.checksums) {
    demand(view.number('checksum_type') === 1, 'its checksums are of an unknown kind');
    const sum = rawCrc32c(FIRST_SEED, bytes.subarray(0, SUPERBLOCK.offsetOf('checksum')));
    demand(sum === view.number('checksum'), 'the checksum of its superblock is wrong');
  }
  refuseUnknown('compat', compat, KNOWN_COMPAT);
  demand((incompat & INCOMPAT.journalDevice) === 0, 'it is the journal of another filesystem');
  refuseUnknown('incompat', incompat, KNOWN_INCOMPAT);
  refuseUnknown('ro_compat', roCompat, KNOWN_RO_COMPAT);
  const state = view.number('state');
  demand((state & STATE.errors) === 0, 'it says that errors were found in it');
  demand((state & STATE.valid) !== 0, 'it has not been unmounted, and no journal tells what was under way');
  const is64 = (incompat & INCOMPAT.bits64) !== 0;
  const high = (value: number): number => (is64 ? value * 2 ** 32 : 0);
  const dynamic = view.number('revision') === 1;
  const sizes = sizesOf(view, (roCompat & RO_COMPAT.bigalloc) !== 0);
  const blocks = view.number('blocks') + high(view.number('blocks_high'));
  demand(blocks > sizes.firstDataBlock, 'it has no blocks');
  demand(
    blocks * sizes.blockBytes <= region.lengthBytes,
    `it has ${blocks} blocks of ${sizes.blockBytes} bytes, more than there is room for`,
  );
  const groups = Math.ceil((blocks - sizes.firstDataBlock) / sizes.blocksPerGroup);
  demand(groups <= MAX_GROUPS, `it has ${groups} groups, more than are read`);
  const inodeBytes = dynamic ? view.number('inode_size') : 128;
  demand(
    inodeBytes >= 128 && inodeBytes <= sizes.blockBytes && isPowerOfTwo(inodeBytes),
    `its inodes have ${inodeBytes} bytes`,
  );
  const descriptorBytes = is64 ? view.number('descriptor_size') : DESCRIPTOR.sizeBytes;
  demand(
    isPowerOfTwo(descriptorBytes) && descriptorBytes >= (is64 ? 64 : 32) && descriptorBytes <= 1024,
    `its group descriptors have ${descriptorBytes} bytes`,
  );
  const inodesPerGroup = view.number('inodes_per_group');
  demand(
    inodesPerGroup > 0 && inodesPerGroup <= 8 * sizes.blockBytes,
    `its groups have ${inodesPerGroup} inodes`,
  );
  const descriptorBlocks = Math.ceil(groups / (sizes.blockBytes / descriptorBytes));
  const hasMetaBg = (incompat & INCOMPAT.metaBg) !== 0;
  const seeded = (incompat & INCOMPAT.checksumSeed) !== 0;
  return {
    ...nameOf(bytes),
    ...sizes,
    blocks,
    freeBlocks: view.number('free_blocks') + high(view.number('free_blocks_high')),
    inodesPerGroup,
    inodeBytes,
    groups,
    descriptorBytes,
    reservedDescriptorBlocks: hasMetaBg ? 0 : view.number('reserved_gdt_blocks'),
    descriptorBlocksTogether: hasMetaBg
      ? Math.min(view.number('first_meta_bg'), descriptorBlocks)
      : descriptorBlocks,
    descriptorBlocks,
    hasMetaBg,
    backups: backupsOf(view, compat, roCompat),
    checksums:
      roCompat & RO_COMPAT.checksums ? 'crc32c' : roCompat & RO_COMPAT.groupChecksum ? 'crc16' : 'none',
    checksumSeed: seeded ? view.number('checksum_seed') : rawCrc32c(FIRST_SEED, view.bytes('uuid')),
    hasJournal: (compat & COMPAT.journal) !== 0,
    journalInode: view.number('journal_inode'),
    needsRecovery: (incompat & INCOMPAT.recover) !== 0,
  };
}

type View = ReturnType<typeof SUPERBLOCK.at>;
type Sizes = Pick<
  Superblock,
  'blockBytes' | 'clusterBlocks' | 'firstDataBlock' | 'blocksPerGroup' | 'clustersPerGroup'
>;

function sizesOf(view: View, isBigalloc: boolean): Sizes {
  const logBlock = view.number('log_block_size');
  const logCluster = view.number('log_cluster_size');
  demand(logBlock <= 6, `its blocks would have 1024 << ${logBlock} bytes`);
  demand(
    !isBigalloc || (logCluster >= logBlock && logCluster - logBlock <= 20),
    'its clusters are smaller than its blocks',
  );
  const blockBytes = 1024 << logBlock;
  const clusterBlocks = isBigalloc ? 1 << (logCluster - logBlock) : 1;
  const blocksPerGroup = view.number('blocks_per_group');
  const clustersPerGroup = isBigalloc ? view.number('clusters_per_group') : blocksPerGroup;
  demand(
    clustersPerGroup > 0 && clustersPerGroup % 8 === 0 && clustersPerGroup <= 8 * blockBytes,
    `its groups would have ${clustersPerGroup} clusters`,
  );
  demand(
    blocksPerGroup === clustersPerGroup * clusterBlocks,
    `its groups have ${blocksPerGroup} blocks in ${clustersPerGroup} clusters`,
  );
  const firstDataBlock = view.number('first_data_block');
  demand(
    firstDataBlock === (blockBytes === 1024 && clusterBlocks === 1 ? 1 : 0),
    `its first block is number ${firstDataBlock}`,
  );
  return { blockBytes, clusterBlocks, firstDataBlock, blocksPerGroup, clustersPerGroup };
}

function backupsOf(view: View, compat: number, roCompat: number): Superblock['backups'] {
  if (compat & COMPAT.sparseSuper2) return [view.number('backup_group_0'), view.number('backup_group_1')];
  return roCompat & RO_COMPAT.sparseSuper ? 'sparse' : 'all';
}

function refuseUnknown(kind: string, features: number, known: number): void {
  const unknown = (features & ~known) >>> 0;
  demand(unknown === 0, `it has ${kind} features that are not known here: 0x${unknown.toString(16)}`);
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

/** Throws Untrusted, with this reason, where it does not hold. */
export function demand(holds: boolean, why: string, mayHaveMoved = false): asserts holds {
  if (!holds) throw new Untrusted(why, mayHaveMoved);
}
