/**
 * The undo file: what a repair overwrote, entry by entry in the order in which it was kept. A header of one sector,
 * then entries; each starts on a sector, and what is left of its last sector is zero. docs/on-disk-format.md draws
 * it and a test holds the page to this.
 *
 * What an entry holds begins 64 bytes behind a sector's start: so a superblock that was kept never lies where one is
 * looked for, and the file is no member of an array whatever it holds.
 */
import { describe } from '../../structure.js';

/** "hfundo" and two zeroes. */
export const UNDO_MAGIC = new Uint8Array([0x68, 0x66, 0x75, 0x6e, 0x64, 0x6f, 0, 0]);
export const UNDO_VERSION = 1;

/** "hfue" */
export const ENTRY_MAGIC = 0x6575_6668;

/** What an entry is, by its number. */
export const ENTRY_KINDS = { image: 1, content: 2, zeroes: 3, state: 4 } as const;

/** In `super_offset` of an image that has no superblock. */
export const NO_SUPERBLOCK = 0xffff_ffff_ffff_ffffn;

export const UNDO_HEADER = describe({
  name: 'undo-header',
  sizeBytes: 512,
  fields: [
    {
      name: 'magic',
      offset: 0,
      type: 'bytes',
      length: 8,
      why: '"hfundo" and two zeroes: tells an undo file',
    },
    { name: 'version', offset: 8, type: 'u32', why: '1' },
    { name: 'compat', offset: 12, type: 'u32', why: 'features that a reader may ignore: none yet' },
    {
      name: 'ro_compat',
      offset: 16,
      type: 'u32',
      why: 'as in other structures; nobody writes to a file that is done',
    },
    {
      name: 'incompat',
      offset: 20,
      type: 'u32',
      why: 'features without which it must not be put back: none yet; an unknown bit is refused',
    },
    {
      name: 'volume_uuid',
      offset: 24,
      type: 'bytes',
      length: 16,
      why: 'the set UUID: what another volume held is not put into this one',
    },
    {
      name: 'file_id',
      offset: 40,
      type: 'u64',
      why: 'random: an entry of another undo file that shows after a crash is not one of these',
    },
    { name: 'created', offset: 48, type: 'u64', why: 'seconds since 1970, for people' },
    { name: 'pad', offset: 56, type: 'bytes', length: 452, why: 'zero' },
    { name: 'checksum', offset: 508, type: 'u32', why: 'CRC-32C of all before it' },
  ],
});

export const UNDO_ENTRY = describe({
  name: 'undo-entry',
  sizeBytes: 64,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '"hfue"' },
    {
      name: 'kind',
      offset: 4,
      type: 'u32',
      why: '1: an undo-image follows, and its path; 2: the content follows; 3: the content was all zeroes, nothing follows; 4: an undo-state follows',
    },
    { name: 'file_id', offset: 8, type: 'u64', why: 'that of the header' },
    { name: 'sequence', offset: 16, type: 'u64', why: 'counts entries from 0: one that is left out shows' },
    {
      name: 'committed',
      offset: 24,
      type: 'u64',
      why: 'all of the file before this byte was durable when the entry was written: damage before it is no tail that a crash tore',
    },
    {
      name: 'image',
      offset: 32,
      type: 'u32',
      why: 'which image, counted in the order of the entries of kind 1',
    },
    { name: 'payload_bytes', offset: 36, type: 'u32', why: 'how many bytes follow, at most 1 MiB' },
    { name: 'offset', offset: 40, type: 'u64', why: 'where in the image it was; of kinds 2, 3 and 4' },
    { name: 'length', offset: 48, type: 'u64', why: 'bytes of the image that it is about' },
    { name: 'payload_checksum', offset: 56, type: 'u32', why: 'CRC-32C of what follows' },
    { name: 'checksum', offset: 60, type: 'u32', why: 'CRC-32C of all before it in the entry' },
  ],
});

/** What an entry of the kind `image` holds; the path follows. */
export const UNDO_IMAGE = describe({
  name: 'undo-image',
  sizeBytes: 128,
  fields: [
    { name: 'device_uuid', offset: 0, type: 'bytes', length: 16, why: "the member's; zero: it has none" },
    {
      name: 'size',
      offset: 16,
      type: 'u64',
      why: 'bytes of the image: into one of another size nothing is put',
    },
    {
      name: 'super_offset',
      offset: 24,
      type: 'u64',
      why: 'byte where its superblock lies; all ones: it has none',
    },
    {
      name: 'data_offset',
      offset: 32,
      type: 'u64',
      why: 'byte where its data begins: all else is put back first',
    },
    { name: 'data_bytes', offset: 40, type: 'u64', why: 'how long its data is; 0: it has none' },
    {
      name: 'superblock_hash',
      offset: 48,
      type: 'bytes',
      length: 32,
      why: "SHA-256 of the superblock's first sector before the repair",
    },
    { name: 'pad', offset: 80, type: 'bytes', length: 48, why: 'zero' },
  ],
});

/** What an entry of the kind `state` holds. */
export const UNDO_STATE = describe({
  name: 'undo-state',
  sizeBytes: 32,
  fields: [
    {
      name: 'superblock_hash',
      offset: 0,
      type: 'bytes',
      length: 32,
      why: "SHA-256 of the superblock's first sector as the repair was about to write it: an image that has none of those that are listed was changed by somebody else since",
    },
  ],
});
