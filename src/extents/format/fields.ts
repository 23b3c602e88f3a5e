/**
 * The superblock of the format `extents`, as it lies on the volume, and on a metadata image and a journal image of its
 * own. docs/on-disk-format.md draws it and a test holds the page to this.
 *
 * It is written when the volume is made, and again only where one of its two copies is to be mended: what changes
 * while a volume is used is the metadata engine's.
 */
import { describe } from '../../structure.js';

export const SUPERBLOCK_MAGIC = new Uint8Array(Buffer.from('hfextent', 'latin1'));
export const SUPERBLOCK_VERSION = 1;
export const SUPERBLOCK_BYTES = 4096;

/** What the device is to the volume. */
export const ROLES = { volume: 1, metadata: 2, journal: 3 } as const;

export const EXTENTS_SUPERBLOCK = describe({
  name: 'extents-superblock',
  sizeBytes: SUPERBLOCK_BYTES,
  fields: [
    {
      name: 'magic',
      offset: 0,
      type: 'bytes',
      length: 8,
      why: '"hfextent": tells a device of a volume of the format extents',
    },
    { name: 'version', offset: 8, type: 'u32', why: '1' },
    { name: 'compat', offset: 12, type: 'u32', why: 'features that a reader may ignore: none yet' },
    {
      name: 'ro_compat',
      offset: 16,
      type: 'u32',
      why: 'features with which who does not know them may only read: none yet',
    },
    {
      name: 'incompat',
      offset: 20,
      type: 'u32',
      why: 'features with which who does not know them must not use it: none yet',
    },
    {
      name: 'volume_uuid',
      offset: 24,
      type: 'bytes',
      length: 16,
      why: 'random, new with each making, the same on all devices of the volume: an image of another volume is told',
    },
    {
      name: 'device_uuid',
      offset: 40,
      type: 'bytes',
      length: 16,
      why: 'random, of this device: the volume names its images by it',
    },
    { name: 'role', offset: 56, type: 'u32', why: '1 the volume, 2 its metadata image, 3 its journal image' },
    {
      name: 'block_bytes',
      offset: 60,
      type: 'u32',
      why: 'bytes of a block, a power of two: one bit of every bitmap',
    },
    {
      name: 'extent_bytes',
      offset: 64,
      type: 'u64',
      why: 'bytes of an extent, whole blocks: 16384 of them at most',
    },
    {
      name: 'device_bytes',
      offset: 72,
      type: 'u64',
      why: 'how long the device was when it was made: the second copy lies in its last whole 4096 bytes',
    },
    {
      name: 'generation',
      offset: 80,
      type: 'u64',
      why: 'rises with each superblock that says something new: of two good copies the newer one counts',
    },
    {
      name: 'metadata_offset',
      offset: 88,
      type: 'u64',
      why: 'where the metadata engine begins on this device',
    },
    {
      name: 'metadata_bytes',
      offset: 96,
      type: 'u64',
      why: 'how long its range is, both halves; 0: it is not on this device',
    },
    { name: 'pool_offset', offset: 104, type: 'u64', why: 'where the first extent of this device begins' },
    { name: 'pool_extents', offset: 112, type: 'u64', why: 'how many extents this device has' },
    {
      name: 'pool_first',
      offset: 120,
      type: 'u64',
      why: 'number of the first of them: the volume has those from 0 on, the journal image the next ones',
    },
    {
      name: 'metadata_uuid',
      offset: 128,
      type: 'bytes',
      length: 16,
      why: 'on the volume, the device_uuid of its metadata image; zeroes: there is none',
    },
    {
      name: 'journal_uuid',
      offset: 144,
      type: 'bytes',
      length: 16,
      why: 'on the volume, the device_uuid of its journal image; zeroes: there is none',
    },
    {
      name: 'journal_extents',
      offset: 160,
      type: 'u64',
      why: 'on the volume, how many extents the journal image has',
    },
    {
      name: 'flags_place',
      offset: 168,
      type: 'u32',
      why: 'on the volume, where flags of what is not committed are kept unless said otherwise: 0 at the metadata server, 1 in a local file of the client, 2 on the storage',
    },
    { name: 'pad', offset: 172, type: 'bytes', length: 3920, why: 'zero' },
    { name: 'checksum', offset: 4092, type: 'u32', why: 'CRC-32C of all before it' },
  ],
});
