/**
 * md's superblock of version 0.90 as it lies on disk, and its description of one disk (Linux
 * include/uapi/linux/raid/md_p.h).
 */
import { describe } from '../../structure.js';

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
    {
      name: 'opening_stamp',
      offset: 200,
      type: 'u64',
      why: 'of gstate_sreserved, ours: as in version 1; the kernel writes zeroes here with each superblock',
    },
    { name: 'gstate_sreserved', offset: 208, type: 'bytes', length: 48, why: 'not used' },
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
