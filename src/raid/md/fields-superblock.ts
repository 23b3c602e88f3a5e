/** md's superblock of version 1 as it lies on disk (Linux include/uapi/linux/raid/md_p.h). */
import { describe } from '../../structure.js';

export const MD_MAGIC = 0xa92b_4efc;

export const SUPERBLOCK_V1 = describe({
  name: 'superblock-1',
  sizeBytes: 256,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: 'a92b4efc: tells a superblock from anything else' },
    {
      name: 'major_version',
      offset: 4,
      type: 'u32',
      why: '1; the minor version is only the place where it lies',
    },
    {
      name: 'feature_map',
      offset: 8,
      type: 'u32',
      why: 'which of the optional fields count; an unknown bit forbids use',
    },
    { name: 'pad0', offset: 12, type: 'u32', why: 'zero: md refuses a member with anything else' },
    {
      name: 'set_uuid',
      offset: 16,
      type: 'bytes',
      length: 16,
      why: 'says which array the member belongs to',
    },
    {
      name: 'set_name',
      offset: 32,
      type: 'bytes',
      length: 32,
      why: 'a name for people, ended by a zero byte if shorter',
    },
    {
      name: 'ctime',
      offset: 64,
      type: 'u64',
      why: 'when the array was made: 40 bits of seconds, then microseconds',
    },
    {
      name: 'level',
      offset: 72,
      type: 's32',
      why: '5 for all that is used here; others are recognised and refused',
    },
    {
      name: 'layout',
      offset: 76,
      type: 'u32',
      why: 'where parity lies and in which order data follows: 0 to 5',
    },
    { name: 'size', offset: 80, type: 'u64', why: 'sectors used of each member, may be less than data_size' },
    { name: 'chunksize', offset: 88, type: 'u32', why: 'sectors of one chunk, a power of two' },
    { name: 'raid_disks', offset: 92, type: 'u32', why: 'how many slots the array has, parity included' },
    {
      name: 'bitmap_offset',
      offset: 96,
      type: 's32',
      why: 'sectors from the superblock to the bitmap, with feature bit 0x1',
    },
    {
      name: 'ppl_offset',
      offset: 96,
      type: 's16',
      instead: 'bitmap_offset',
      why: 'sectors from the superblock to the partial parity log, with feature bit 0x400 or 0x800',
    },
    {
      name: 'ppl_size',
      offset: 98,
      type: 'u16',
      instead: 'bitmap_offset',
      why: 'sectors of the partial parity log, its header included',
    },
    {
      name: 'new_level',
      offset: 100,
      type: 's32',
      why: 'of a reshape (feature bit 0x4): the level it leads to',
    },
    {
      name: 'reshape_position',
      offset: 104,
      type: 'u64',
      why: 'of a reshape: sector of the array that it has come to',
    },
    { name: 'delta_disks', offset: 112, type: 's32', why: 'of a reshape: by how much raid_disks changes' },
    { name: 'new_layout', offset: 116, type: 'u32', why: 'of a reshape: the layout it leads to' },
    { name: 'new_chunk', offset: 120, type: 'u32', why: 'of a reshape: the chunk it leads to, in sectors' },
    {
      name: 'new_offset',
      offset: 124,
      type: 's32',
      why: 'of a reshape (with bit 0x40): what data_offset will change by',
    },
    {
      name: 'data_offset',
      offset: 128,
      type: 'u64',
      why: 'sector of the image where data starts: read, never assumed',
    },
    { name: 'data_size', offset: 136, type: 'u64', why: 'sectors of this member that data may take' },
    {
      name: 'super_offset',
      offset: 144,
      type: 'u64',
      why: 'sector where the superblock lies: a copy elsewhere gives itself away',
    },
    {
      name: 'recovery_offset',
      offset: 152,
      type: 'u64',
      why: 'with feature bit 0x2: sectors of data below which the member is rebuilt',
    },
    {
      name: 'journal_tail',
      offset: 152,
      type: 'u64',
      instead: 'recovery_offset',
      why: 'of a journal device: sector where its replay starts',
    },
    {
      name: 'opening_stamp',
      offset: 152,
      type: 'u64',
      instead: 'recovery_offset',
      why: 'without feature bit 0x2, ours: a random number for each opening for writing; the kernel keeps it until its own first write of the superblock, which clears it, and so shows that the kernel wrote in between',
    },
    {
      name: 'dev_number',
      offset: 160,
      type: 'u32',
      why: 'index of this member in dev_roles; never the slot',
    },
    {
      name: 'cnt_corrected_read',
      offset: 164,
      type: 'u32',
      why: 'read errors that writing the sector anew has cured',
    },
    {
      name: 'device_uuid',
      offset: 168,
      type: 'bytes',
      length: 16,
      why: 'tells this member from its copies and replacements',
    },
    { name: 'devflags', offset: 184, type: 'u8', why: 'write-mostly and failfast, for the kernel' },
    {
      name: 'bblog_shift',
      offset: 185,
      type: 'u8',
      why: 'bad blocks are counted in sectors shifted by this',
    },
    { name: 'bblog_size', offset: 186, type: 'u16', why: 'sectors that the bad block log has' },
    {
      name: 'bblog_offset',
      offset: 188,
      type: 's32',
      why: 'sectors from the superblock to the bad block log; 0: there is none. It has entries only with feature bit 0x8',
    },
    { name: 'utime', offset: 192, type: 'u64', why: 'when the superblock was last written, like ctime' },
    {
      name: 'events',
      offset: 200,
      type: 'u64',
      why: 'rises with every update: the freshest superblock judges the others',
    },
    {
      name: 'resync_offset',
      offset: 208,
      type: 'u64',
      why: 'sectors of data below which parity is right; all ones: clean, 0: active or dirty',
    },
    {
      name: 'sb_csum',
      offset: 216,
      type: 'u32',
      why: 'the sum of all words up to the last role: finds damage',
    },
    { name: 'max_dev', offset: 220, type: 'u32', why: 'how many roles follow' },
    {
      name: 'pad3',
      offset: 224,
      type: 'bytes',
      length: 32,
      why: 'zero: md refuses a member with anything else',
    },
  ],
});

/** What follows SUPERBLOCK_V1, `max_dev` times. */
export const DEVICE_ROLE_V1 = describe({
  name: 'device-role-1',
  sizeBytes: 2,
  fields: [
    {
      name: 'role',
      offset: 0,
      type: 'u16',
      why: 'the slot of the member with this dev_number; ffff spare or gone, fffe faulty, fffd journal',
    },
  ],
});

export const ROLE_SPARE = 0xffff;
export const ROLE_FAULTY = 0xfffe;
export const ROLE_JOURNAL = 0xfffd;

/** Kernel: super_1_load takes no more, as it reads 4 KiB. */
export const MAX_DEV_V1 = (4096 - SUPERBLOCK_V1.sizeBytes) / DEVICE_ROLE_V1.sizeBytes;

export const FEATURE = {
  bitmap: 0x1,
  recoveryOffset: 0x2,
  reshape: 0x4,
  badBlocks: 0x8,
  replacement: 0x10,
  reshapeBackwards: 0x20,
  newOffset: 0x40,
  recoveryBitmap: 0x80,
  clustered: 0x100,
  journal: 0x200,
  ppl: 0x400,
  multiplePpls: 0x800,
  raid0Layout: 0x1000,
} as const;

export const KNOWN_FEATURES = Object.values(FEATURE).reduce((all, bit) => all | bit, 0);
