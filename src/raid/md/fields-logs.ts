/**
 * What md keeps beside the superblock: the write-intent bitmap (Linux drivers/md/md-bitmap.c), the bad block
 * log (md.c, block/badblocks.c) and the partial parity log (include/uapi/linux/raid/md_p.h, raid5-ppl.c).
 */
import { describe } from '../../structure.js';

export const BITMAP_MAGIC = 0x6d74_6962;

export const BITMAP_SUPERBLOCK = describe({
  name: 'bitmap',
  sizeBytes: 256,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '"bitm"' },
    {
      name: 'version',
      offset: 4,
      type: 'u32',
      why: '4; 3 has its bits in the order of the machine; 5 and later are refused',
    },
    {
      name: 'uuid',
      offset: 8,
      type: 'bytes',
      length: 16,
      why: 'the set UUID: a bitmap of another array is not used',
    },
    {
      name: 'events',
      offset: 24,
      type: 'u64',
      why: 'less than the array has: it missed writes, all bits count as set',
    },
    {
      name: 'events_cleared',
      offset: 32,
      type: 'u64',
      why: 'a member as fresh as this can be brought up to date by the bits',
    },
    {
      name: 'sync_size',
      offset: 40,
      type: 'u64',
      why: 'sectors that the bits cover; the superblock decides',
    },
    {
      name: 'state',
      offset: 48,
      type: 'u32',
      why: 'bit 1 stale, bit 2 a write of it failed, bit 15 bits in machine order',
    },
    {
      name: 'chunksize',
      offset: 52,
      type: 'u32',
      why: "bytes of a member's data for each bit, a power of two",
    },
    { name: 'daemon_sleep', offset: 56, type: 'u32', why: 'seconds after which the kernel clears bits' },
    { name: 'write_behind', offset: 60, type: 'u32', why: 'for RAID-1' },
    { name: 'sectors_reserved', offset: 64, type: 'u32', why: 'room for it to grow; 0: unknown' },
    { name: 'nodes', offset: 68, type: 'u32', why: 'of a cluster, otherwise 0' },
    { name: 'cluster_name', offset: 72, type: 'bytes', length: 64, why: 'of a cluster' },
    { name: 'pad', offset: 136, type: 'bytes', length: 120, why: 'zero; the bits follow it, lowest first' },
  ],
});

/** Kernel: BITMAP_STALE, BITMAP_WRITE_ERROR and BITMAP_HOSTENDIAN are bit numbers 1, 2 and 15 of `state`. */
export const BITMAP_STATE = { stale: 0x2, writeError: 0x4, hostEndian: 0x8000 } as const;

/** One packed number: the length is its lowest 10 bits, the sector the 54 above. */
export const BAD_BLOCK_ENTRY = describe({
  name: 'bad-block',
  sizeBytes: 8,
  fields: [
    {
      name: 'sector_and_length',
      offset: 0,
      type: 'u64',
      why: 'where the range starts, times 1024, plus its length; both in sectors shifted by bblog_shift, the start counted from that of the image, so data_offset is in it; all ones ends the list',
    },
  ],
});

export const PPL_HEADER = describe({
  name: 'ppl-header',
  sizeBytes: 4096,
  fields: [
    {
      name: 'reserved',
      offset: 0,
      type: 'bytes',
      length: 512,
      why: 'all ones, room for other uses of the first sector',
    },
    {
      name: 'signature',
      offset: 512,
      type: 'u32',
      why: 'CRC-32C of the set UUID: a log of another array is not replayed',
    },
    { name: 'padding', offset: 516, type: 'u32', why: 'zero' },
    {
      name: 'generation',
      offset: 520,
      type: 'u64',
      why: 'rises with every header: tells the newest of several',
    },
    { name: 'entries_count', offset: 528, type: 'u32', why: 'how many entries count' },
    { name: 'checksum', offset: 532, type: 'u32', why: 'CRC-32C of the header with this field zero' },
    {
      name: 'entries',
      offset: 536,
      type: 'bytes',
      length: 3552,
      why: '148 ppl-entry; their partial parities follow the header in the same order',
    },
    { name: 'tail', offset: 4088, type: 'bytes', length: 8, why: 'zero: less than one entry' },
  ],
});

export const PPL_ENTRY = describe({
  name: 'ppl-entry',
  sizeBytes: 24,
  fields: [
    { name: 'data_sector', offset: 0, type: 'u64', why: 'first sector of the array that was to be written' },
    {
      name: 'pp_size',
      offset: 8,
      type: 'u32',
      why: 'bytes of partial parity; 0: whole stripes were to be written',
    },
    { name: 'data_size', offset: 12, type: 'u32', why: 'bytes of data that were to be written' },
    {
      name: 'parity_disk',
      offset: 16,
      type: 'u32',
      why: 'slot of the parity, which is the member that has the log',
    },
    { name: 'checksum', offset: 20, type: 'u32', why: 'CRC-32C of the partial parity' },
  ],
});

export const PPL_MAX_ENTRIES = 148;
