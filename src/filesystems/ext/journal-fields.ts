/**
 * Structures of jbd2, the journal of ext3 and ext4. All of it is big-endian.
 *
 * Source: the kernel's documentation of ext4, section "Journal (jbd2)".
 */
import { describe } from '../../structure.js';

export const JOURNAL_MAGIC = 0xc03b3998;
export const KIND = { descriptor: 1, commit: 2, superblockV1: 3, superblockV2: 4, revoke: 5 } as const;
export const TAG_FLAG = { escaped: 1, sameUuid: 2, last: 8 } as const;
export const JOURNAL_FEATURE = {
  bits64: 0x2,
  asyncCommit: 0x4,
  checksumV2: 0x8,
  checksumV3: 0x10,
  fastCommit: 0x20,
} as const;
export const KNOWN_JOURNAL_FEATURES = 0x3f;
/** Compatible: whole transactions have a CRC-32 in their commit (version 1). */
export const COMPAT_CHECKSUM = 0x1;

export const JOURNAL_HEADER = describe({
  name: 'jbd2 header',
  sizeBytes: 12,
  order: 'big',
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '0xC03B3998; a block of data that begins so is escaped' },
    { name: 'kind', offset: 4, type: 'u32', why: 'descriptor, commit, superblock, revoke' },
    { name: 'sequence', offset: 8, type: 'u32', why: 'of its transaction' },
  ],
});

export const JOURNAL_SUPERBLOCK = describe({
  name: 'jbd2 superblock',
  sizeBytes: 1024,
  order: 'big',
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '0xC03B3998' },
    { name: 'kind', offset: 4, type: 'u32', why: '3, or 4 with features' },
    { name: 'own_sequence', offset: 8, type: 'u32', why: 'not needed' },
    { name: 'block_size', offset: 12, type: 'u32', why: 'that of the filesystem' },
    { name: 'blocks', offset: 16, type: 'u32', why: 'of the journal' },
    { name: 'first', offset: 20, type: 'u32', why: 'where the log wraps around to' },
    { name: 'sequence', offset: 24, type: 'u32', why: 'of the first transaction in the log' },
    { name: 'start', offset: 28, type: 'u32', why: 'its block; 0: the log is empty' },
    { name: 'error', offset: 32, type: 'u32', why: 'why it was aborted, or 0' },
    { name: 'compat', offset: 36, type: 'u32', why: 'features' },
    { name: 'incompat', offset: 40, type: 'u32', why: 'features' },
    { name: 'ro_compat', offset: 44, type: 'u32', why: 'features' },
    { name: 'uuid', offset: 48, type: 'bytes', length: 16, why: 'the seed of its checksums' },
    { name: 'users', offset: 64, type: 'bytes', length: 16, why: 'not needed' },
    { name: 'checksum_type', offset: 80, type: 'u8', why: '4 is CRC-32C' },
    { name: 'padding', offset: 81, type: 'bytes', length: 3, why: 'not needed' },
    { name: 'fast_commit_blocks', offset: 84, type: 'u32', why: 'at its end; 0 is 256' },
    { name: 'reserved', offset: 88, type: 'bytes', length: 164, why: 'not needed' },
    { name: 'checksum', offset: 252, type: 'u32', why: 'of all 1024 bytes, itself as zero' },
    { name: 'user_ids', offset: 256, type: 'bytes', length: 768, why: 'not needed' },
  ],
});

/** How many bytes of a revoke block are filled, its head included; numbers of blocks follow. */
export const REVOKE_HEADER = describe({
  name: 'jbd2 revoke block',
  sizeBytes: 16,
  order: 'big',
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '0xC03B3998' },
    { name: 'kind', offset: 4, type: 'u32', why: '5' },
    { name: 'sequence', offset: 8, type: 'u32', why: 'of its transaction' },
    { name: 'filled', offset: 12, type: 'u32', why: 'bytes' },
  ],
});

/** Where the checksum of a commit block lies. */
export const COMMIT_CHECKSUM_AT = 16;
/** The checksum at the end of descriptors and revoke blocks, where there are checksums. */
export const TAIL_BYTES = 4;

/** Without the high half and the padding that features add behind. */
export const TAG = describe({
  name: 'jbd2 block tag',
  sizeBytes: 8,
  order: 'big',
  fields: [
    { name: 'block', offset: 0, type: 'u32', why: 'low half: whose version follows' },
    { name: 'checksum', offset: 4, type: 'u16', why: 'version 2: lower half of the sum' },
    { name: 'flags', offset: 6, type: 'u16', why: 'escaped, the same uuid, the last one' },
  ],
});

export const TAG_V3 = describe({
  name: 'jbd2 block tag, version 3',
  sizeBytes: 16,
  order: 'big',
  fields: [
    { name: 'block', offset: 0, type: 'u32', why: 'low half: whose version follows' },
    { name: 'flags', offset: 4, type: 'u32', why: 'escaped, the same uuid, the last one' },
    { name: 'block_high', offset: 8, type: 'u32', why: 'where there are 64 bits' },
    { name: 'checksum', offset: 12, type: 'u32', why: 'of the sequence and the block as it lies in the log' },
  ],
});
