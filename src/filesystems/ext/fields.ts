/**
 * Structures of ext2, ext3 and ext4 on disk, as far as they are needed to tell used blocks from free ones. Little-endian.
 * What is not read here is there as bytes, so that every structure is covered.
 *
 * Source: the Linux kernel's documentation, "ext4 Data Structures and Algorithms", sections "Super Block", "Block Group
 * Descriptors", "Index Nodes" and "Extent Tree".
 */
import { describe } from '../../structure.js';

export const SUPERBLOCK_AT = 1024;
export const SUPERBLOCK_MAGIC = 0xef53;

export const SUPERBLOCK = describe({
  name: 'ext superblock',
  sizeBytes: 1024,
  fields: [
    { name: 'inodes', offset: 0, type: 'u32', why: 'of all groups' },
    { name: 'blocks', offset: 4, type: 'u32', why: 'low half' },
    { name: 'reserved_blocks', offset: 8, type: 'u32', why: 'for root; free all the same' },
    { name: 'free_blocks', offset: 12, type: 'u32', why: 'low half; lags behind while mounted' },
    { name: 'free_inodes', offset: 16, type: 'u32', why: 'not needed' },
    { name: 'first_data_block', offset: 20, type: 'u32', why: 'where group 0 begins' },
    { name: 'log_block_size', offset: 24, type: 'u32', why: 'blocks are 1024 << this' },
    { name: 'log_cluster_size', offset: 28, type: 'u32', why: 'clusters are 1024 << this' },
    { name: 'blocks_per_group', offset: 32, type: 'u32', why: 'geometry' },
    { name: 'clusters_per_group', offset: 36, type: 'u32', why: 'bits of a bitmap that mean something' },
    { name: 'inodes_per_group', offset: 40, type: 'u32', why: 'how long a table of inodes is' },
    { name: 'mounts', offset: 44, type: 'bytes', length: 12, why: 'times and counts, not needed' },
    { name: 'magic', offset: 56, type: 'u16', why: '0xEF53' },
    { name: 'state', offset: 58, type: 'u16', why: '1 cleanly unmounted, 2 errors seen' },
    { name: 'checks', offset: 60, type: 'bytes', length: 16, why: 'not needed' },
    { name: 'revision', offset: 76, type: 'u32', why: '0 has no features, and inodes of 128 bytes' },
    { name: 'owners', offset: 80, type: 'bytes', length: 8, why: 'not needed' },
    { name: 'inode_size', offset: 88, type: 'u16', why: 'bytes' },
    { name: 'group', offset: 90, type: 'u16', why: 'of this copy' },
    { name: 'compat', offset: 92, type: 'u32', why: 'features' },
    { name: 'incompat', offset: 96, type: 'u32', why: 'features' },
    { name: 'ro_compat', offset: 100, type: 'u32', why: 'features' },
    { name: 'uuid', offset: 104, type: 'bytes', length: 16, why: 'for people, and the seed of checksums' },
    { name: 'label', offset: 120, type: 'bytes', length: 16, why: 'for people' },
    { name: 'last_mounted', offset: 136, type: 'bytes', length: 70, why: 'not needed' },
    { name: 'reserved_gdt_blocks', offset: 206, type: 'u16', why: 'kept behind each copy of descriptors' },
    { name: 'journal_uuid', offset: 208, type: 'bytes', length: 16, why: 'of an external journal' },
    { name: 'journal_inode', offset: 224, type: 'u32', why: '8, or 0' },
    { name: 'journal_device', offset: 228, type: 'u32', why: 'of an external journal' },
    { name: 'orphans', offset: 232, type: 'bytes', length: 22, why: 'not needed' },
    { name: 'descriptor_size', offset: 254, type: 'u16', why: 'bytes, where there are 64 bits' },
    { name: 'mount_options', offset: 256, type: 'u32', why: 'not needed' },
    { name: 'first_meta_bg', offset: 260, type: 'u32', why: 'blocks of descriptors that lie together' },
    { name: 'journal_backup', offset: 264, type: 'bytes', length: 72, why: 'not needed' },
    { name: 'blocks_high', offset: 336, type: 'u32', why: 'where there are 64 bits' },
    { name: 'reserved_blocks_high', offset: 340, type: 'u32', why: 'not needed' },
    { name: 'free_blocks_high', offset: 344, type: 'u32', why: 'where there are 64 bits' },
    { name: 'sizes', offset: 348, type: 'bytes', length: 25, why: 'not needed' },
    { name: 'checksum_type', offset: 373, type: 'u8', why: '1 is CRC-32C' },
    { name: 'history', offset: 374, type: 'bytes', length: 214, why: 'not needed' },
    { name: 'backup_group_0', offset: 588, type: 'u32', why: 'sparse_super2; 0 is none' },
    { name: 'backup_group_1', offset: 592, type: 'u32', why: 'sparse_super2; 0 is none' },
    { name: 'encryption', offset: 596, type: 'bytes', length: 28, why: 'not needed' },
    { name: 'checksum_seed', offset: 624, type: 'u32', why: 'where the uuid was changed later' },
    { name: 'rest', offset: 628, type: 'bytes', length: 392, why: 'not needed' },
    { name: 'checksum', offset: 1020, type: 'u32', why: 'metadata_csum; of all before it' },
  ],
});

export const DESCRIPTOR = describe({
  name: 'ext group descriptor',
  sizeBytes: 32,
  fields: [
    { name: 'block_bitmap', offset: 0, type: 'u32', why: 'low half of a block number' },
    { name: 'inode_bitmap', offset: 4, type: 'u32', why: 'low half of a block number' },
    { name: 'inode_table', offset: 8, type: 'u32', why: 'low half of a block number' },
    { name: 'free_clusters', offset: 12, type: 'u16', why: 'low half; what the bitmap is held to' },
    { name: 'free_inodes', offset: 14, type: 'u16', why: 'not needed' },
    { name: 'directories', offset: 16, type: 'u16', why: 'not needed' },
    { name: 'flags', offset: 18, type: 'u16', why: '2: the bitmap of blocks was never written' },
    { name: 'exclude_bitmap', offset: 20, type: 'u32', why: 'not needed' },
    { name: 'block_bitmap_checksum', offset: 24, type: 'u16', why: 'low half' },
    { name: 'inode_bitmap_checksum', offset: 26, type: 'u16', why: 'not needed' },
    { name: 'unused_inodes', offset: 28, type: 'u16', why: 'not needed' },
    { name: 'checksum', offset: 30, type: 'u16', why: 'of the descriptor' },
  ],
});

/** What follows where descriptors are larger than 32 bytes. */
export const DESCRIPTOR_HIGH = describe({
  name: 'ext group descriptor, second half',
  sizeBytes: 32,
  fields: [
    { name: 'block_bitmap', offset: 0, type: 'u32', why: 'high half' },
    { name: 'inode_bitmap', offset: 4, type: 'u32', why: 'high half' },
    { name: 'inode_table', offset: 8, type: 'u32', why: 'high half' },
    { name: 'free_clusters', offset: 12, type: 'u16', why: 'high half' },
    { name: 'between', offset: 14, type: 'bytes', length: 10, why: 'not needed' },
    { name: 'block_bitmap_checksum', offset: 24, type: 'u16', why: 'high half' },
    { name: 'rest', offset: 26, type: 'bytes', length: 6, why: 'not needed' },
  ],
});

/** The part of an inode that is always there. */
export const INODE = describe({
  name: 'ext inode',
  sizeBytes: 128,
  fields: [
    { name: 'mode', offset: 0, type: 'u16', why: 'the type in its upper four bits' },
    { name: 'owner', offset: 2, type: 'u16', why: 'not needed' },
    { name: 'size', offset: 4, type: 'u32', why: 'low half, bytes' },
    { name: 'times', offset: 8, type: 'bytes', length: 24, why: 'not needed' },
    { name: 'flags', offset: 32, type: 'u32', why: '0x80000: it has extents' },
    { name: 'version', offset: 36, type: 'u32', why: 'not needed' },
    { name: 'map', offset: 40, type: 'bytes', length: 60, why: 'extents, or numbers of blocks' },
    { name: 'generation', offset: 100, type: 'u32', why: 'in its checksums' },
    { name: 'attributes', offset: 104, type: 'u32', why: 'not needed' },
    { name: 'size_high', offset: 108, type: 'u32', why: 'high half, bytes' },
    { name: 'between', offset: 112, type: 'bytes', length: 12, why: 'not needed' },
    { name: 'checksum', offset: 124, type: 'u16', why: 'low half' },
    { name: 'reserved', offset: 126, type: 'u16', why: 'not needed' },
  ],
});

/** The head of a node of an extent tree; entries of 12 bytes follow. */
export const EXTENT_HEADER = describe({
  name: 'ext extent header',
  sizeBytes: 12,
  fields: [
    { name: 'magic', offset: 0, type: 'u16', why: '0xF30A' },
    { name: 'entries', offset: 2, type: 'u16', why: 'that follow' },
    { name: 'most', offset: 4, type: 'u16', why: 'that have room; the checksum lies behind' },
    { name: 'depth', offset: 6, type: 'u16', why: '0: extents follow, else nodes' },
    { name: 'generation', offset: 8, type: 'u32', why: 'not needed' },
  ],
});

export const EXTENT = describe({
  name: 'ext extent',
  sizeBytes: 12,
  fields: [
    { name: 'logical', offset: 0, type: 'u32', why: 'block of the file' },
    { name: 'length', offset: 4, type: 'u16', why: 'blocks; above 32768 they were never written' },
    { name: 'start_high', offset: 6, type: 'u16', why: 'of the block number' },
    { name: 'start', offset: 8, type: 'u32', why: 'of the block number' },
  ],
});

export const EXTENT_NODE = describe({
  name: 'ext extent index',
  sizeBytes: 12,
  fields: [
    { name: 'logical', offset: 0, type: 'u32', why: 'first block of the file below' },
    { name: 'child', offset: 4, type: 'u32', why: 'low part of the block number' },
    { name: 'child_high', offset: 8, type: 'u16', why: 'of the block number' },
    { name: 'unused', offset: 10, type: 'u16', why: 'not needed' },
  ],
});
