/**
 * Group descriptors: where they lie, and what each says, checked.
 *
 * Source: the kernel's documentation of ext4, sections "Block Group Descriptors", "Meta Block Groups", "Sparse super 2".
 */
import type { BlockReader } from './blocks.js';
import { crc16, rawCrc32c, rawCrc32cWithout, u32Bytes } from './checksums.js';
import { DESCRIPTOR, DESCRIPTOR_HIGH } from './fields.js';
import { demand, type Superblock } from './superblock.js';

const BLOCK_UNINIT = 2;
const CHECKSUM_AT = DESCRIPTOR.offsetOf('checksum');

export interface Group {
  readonly index: number;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
  readonly freeClusters: number;
  readonly bitmapChecksum: number;
  /** Its bitmap was never written: nothing but the filesystem's own blocks is used. */
  readonly isUninitialised: boolean;
}

/** The block that the primary superblock lies in. */
function superblockBlock(sb: Superblock): number {
  return sb.blockBytes === 1024 ? 1 : 0;
}

export function groupStart(sb: Superblock, group: number): number {
  return sb.firstDataBlock + group * sb.blocksPerGroup;
}

export function groupBlocks(sb: Superblock, group: number): number {
  return Math.min(sb.blocksPerGroup, sb.blocks - groupStart(sb, group));
}

/** Where the first block of group `group` lies that something can be in: with blocks of 1 KiB never block 0. */
export function copyStart(sb: Superblock, group: number): number {
  return group === 0 ? superblockBlock(sb) : groupStart(sb, group);
}

export function hasSuperblock(sb: Superblock, group: number): boolean {
  if (group === 0 || sb.backups === 'all') return true;
  if (sb.backups !== 'sparse') return sb.backups.includes(group);
  return group === 1 || [3, 5, 7].some((base) => isPower(group, base));
}

function isPower(value: number, base: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}

/** Which block block `index` of the descriptors is, in its first copy. */
function descriptorBlock(sb: Superblock, index: number): number {
  if (index < sb.descriptorBlocksTogether) return superblockBlock(sb) + 1 + index;
  const group = index * (sb.blockBytes / sb.descriptorBytes);
  return copyStart(sb, group) + (hasSuperblock(sb, group) ? 1 : 0);
}

/** All descriptors as they lie; `groupOf` reads one. */
export class Descriptors {
  private constructor(
    private readonly sb: Superblock,
    private readonly bytes: Uint8Array,
    private readonly first: number,
  ) {}

  static async read(blocks: BlockReader, sb: Superblock): Promise<Descriptors> {
    const together = await blocks.run(superblockBlock(sb) + 1, sb.descriptorBlocksTogether);
    const bytes = new Uint8Array(sb.descriptorBlocks * sb.blockBytes);
    bytes.set(together);
    for (let i = sb.descriptorBlocksTogether; i < sb.descriptorBlocks; i++) {
      bytes.set(await blocks.run(descriptorBlock(sb, i), 1), i * sb.blockBytes);
    }
    return new Descriptors(sb, bytes, 0);
  }

  /** The one descriptor that is needed to find an inode, and no more. */
  static async readOne(blocks: BlockReader, sb: Superblock, group: number): Promise<Group> {
    const perBlock = sb.blockBytes / sb.descriptorBytes;
    const at = (group % perBlock) * sb.descriptorBytes;
    const block = descriptorBlock(sb, Math.floor(group / perBlock));
    const bytes = await blocks.part(block, at, sb.descriptorBytes);
    return new Descriptors(sb, bytes, group).group(group);
  }

  /** Throws Untrusted. */
  group(index: number): Group {
    const { sb } = this;
    const at = (index - this.first) * sb.descriptorBytes;
    const bytes = this.bytes.subarray(at, at + sb.descriptorBytes);
    const low = DESCRIPTOR.at(bytes);
    demand(
      sb.checksums === 'none' || checksum(sb, index, bytes) === low.number('checksum'),
      `the checksum of its group descriptor ${index} is wrong`,
    );
    const high = sb.descriptorBytes >= 64 ? DESCRIPTOR_HIGH.at(bytes, DESCRIPTOR.sizeBytes) : undefined;
    const wide = (name: 'block_bitmap' | 'inode_bitmap' | 'inode_table'): number =>
      this.inside(index, low.number(name) + (high?.number(name) ?? 0) * 2 ** 32);
    return {
      index,
      blockBitmap: wide('block_bitmap'),
      inodeBitmap: wide('inode_bitmap'),
      inodeTable: wide('inode_table'),
      freeClusters: low.number('free_clusters') + (high?.number('free_clusters') ?? 0) * 0x10000,
      bitmapChecksum:
        low.number('block_bitmap_checksum') + (high?.number('block_bitmap_checksum') ?? 0) * 0x10000,
      isUninitialised: sb.checksums !== 'none' && (low.number('flags') & BLOCK_UNINIT) !== 0,
    };
  }

  private inside(group: number, block: number): number {
    const { sb } = this;
    demand(
      block > superblockBlock(sb) && block < sb.blocks,
      `its group descriptor ${group} names block ${block} of ${sb.blocks}`,
    );
    return block;
  }
}

/** The lower half of a CRC-32C, or a CRC-16, over which group it is and all but the checksum itself. */
function checksum(sb: Superblock, group: number, bytes: Uint8Array): number {
  if (sb.checksums === 'crc32c') {
    return rawCrc32cWithout(rawCrc32c(sb.checksumSeed, u32Bytes(group)), bytes, CHECKSUM_AT, 2) & 0xffff;
  }
  const head = crc16(crc16(0xffff, sb.uuid), u32Bytes(group));
  return crc16(crc16(head, bytes.subarray(0, CHECKSUM_AT)), bytes.subarray(CHECKSUM_AT + 2));
}
