/**
 * md's superblocks as they lie on disk (Linux include/uapi/linux/raid/md_p.h): version 1, version 0.90 and
 * the latter's description of one disk.
 */
import { describe } from './structure.js';

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

export const SUPERBLOCK_V090 = describe({
  name: 'superblock-0.90',
  sizeBytes: 4096,
  fields: [
    {
      name: 'md_magic',
      offset: 0,
      type: 'u32',
      why: 'a92b4efc; with its bytes reversed a big-endian machine wrote it',
    },
    { name: 'major_version', offset: 4, type: 'u32', why: '0' },
    { name: 'minor_version', offset: 8, type: 'u32', why: '90; 91 while a reshape is in progress' },
    { name: 'patch_version', offset: 12, type: 'u32', why: 'not used' },
    { name: 'gvalid_words', offset: 16, type: 'u32', why: 'not used' },
    { name: 'set_uuid0', offset: 20, type: 'u32', why: 'first quarter of the identity of the array' },
    { name: 'ctime', offset: 24, type: 'u32', why: 'when the array was made, in seconds' },
    { name: 'level', offset: 28, type: 's32', why: 'as in version 1' },
    { name: 'size', offset: 32, type: 'u32', why: 'KiB used of each member' },
    { name: 'nr_disks', offset: 36, type: 'u32', why: 'members of all kinds that there are' },
    { name: 'raid_disks', offset: 40, type: 'u32', why: 'how many slots the array has' },
    {
      name: 'md_minor',
      offset: 44,
      type: 'u32',
      why: 'the number that the kernel gives the assembled device',
    },
    { name: 'not_persistent', offset: 48, type: 'u32', why: 'not used: what is on disk is persistent' },
    { name: 'set_uuid1', offset: 52, type: 'u32', why: 'second quarter of the identity' },
    { name: 'set_uuid2', offset: 56, type: 'u32', why: 'third quarter of the identity' },
    { name: 'set_uuid3', offset: 60, type: 'u32', why: 'last quarter of the identity' },
    { name: 'gstate_creserved', offset: 64, type: 'bytes', length: 64, why: 'not used' },
    { name: 'utime', offset: 128, type: 'u32', why: 'when the superblock was last written, in seconds' },
    {
      name: 'state',
      offset: 132,
      type: 'u32',
      why: 'bit 0 clean, bit 1 errors, bit 8 a bitmap follows the superblock',
    },
    { name: 'active_disks', offset: 136, type: 'u32', why: 'members that serve a slot' },
    { name: 'working_disks', offset: 140, type: 'u32', why: 'active ones and spares' },
    { name: 'failed_disks', offset: 144, type: 'u32', why: 'slots that nobody serves, and faulty members' },
    { name: 'spare_disks', offset: 148, type: 'u32', why: 'members without a slot' },
    { name: 'sb_csum', offset: 152, type: 'u32', why: 'the sum of all words of the 4 KiB: finds damage' },
    { name: 'events_lo', offset: 156, type: 'u32', why: 'low half of the event count' },
    { name: 'events_hi', offset: 160, type: 'u32', why: 'high half of the event count' },
    {
      name: 'cp_events_lo',
      offset: 164,
      type: 'u32',
      why: 'low half of the event count that recovery_cp belongs to',
    },
    { name: 'cp_events_hi', offset: 168, type: 'u32', why: 'high half of the same' },
    {
      name: 'recovery_cp',
      offset: 172,
      type: 'u32',
      why: 'sectors below which parity is right, if not clean and cp_events equals events; else nothing is known to be',
    },
    {
      name: 'reshape_position',
      offset: 176,
      type: 'u64',
      why: 'of minor version 91: sector of the array it has come to',
    },
    { name: 'new_level', offset: 184, type: 's32', why: 'of minor version 91' },
    { name: 'delta_disks', offset: 188, type: 's32', why: 'of minor version 91' },
    { name: 'new_layout', offset: 192, type: 'u32', why: 'of minor version 91' },
    { name: 'new_chunk', offset: 196, type: 'u32', why: 'of minor version 91, in bytes' },
    { name: 'gstate_sreserved', offset: 200, type: 'bytes', length: 56, why: 'not used' },
    { name: 'layout', offset: 256, type: 'u32', why: 'as in version 1' },
    { name: 'chunk_size', offset: 260, type: 'u32', why: 'bytes of one chunk' },
    { name: 'root_pv', offset: 264, type: 'u32', why: 'not used' },
    { name: 'root_block', offset: 268, type: 'u32', why: 'not used' },
    { name: 'pstate_reserved', offset: 272, type: 'bytes', length: 240, why: 'not used' },
    {
      name: 'disks',
      offset: 512,
      type: 'bytes',
      length: 3456,
      why: '27 disk-0.90, one for each device number',
    },
    {
      name: 'this_disk',
      offset: 3968,
      type: 'bytes',
      length: 128,
      why: 'disk-0.90 of the member that this copy is on',
    },
  ],
});

export const DISK_V090 = describe({
  name: 'disk-0.90',
  sizeBytes: 128,
  fields: [
    { name: 'number', offset: 0, type: 'u32', why: 'device number: its index in disks' },
    {
      name: 'major',
      offset: 4,
      type: 'u32',
      why: 'number of the block device it was last seen as; not trusted',
    },
    { name: 'minor', offset: 8, type: 'u32', why: 'the same' },
    { name: 'raid_disk', offset: 12, type: 'u32', why: 'its slot, if it is in sync' },
    {
      name: 'state',
      offset: 16,
      type: 'u32',
      why: 'bit 0 faulty, 1 active, 2 in sync, 3 removed, 9 write-mostly, 10 failfast',
    },
    { name: 'reserved', offset: 20, type: 'bytes', length: 108, why: 'not used' },
  ],
});

export const DISKS_V090 = 27;

/** Bits of disk-0.90's `state`. */
export const DISK_STATE = { faulty: 0x1, active: 0x2, sync: 0x4, removed: 0x8 } as const;

/** Bits of superblock-0.90's `state`. */
export const STATE_V090 = { clean: 0x1, errors: 0x2, bitmap: 0x100 } as const;
