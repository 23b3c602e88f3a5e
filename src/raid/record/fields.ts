/**
 * The dirty-stripe record on disk: a header of one sector, which tears at most with what follows it and never in
 * itself, then three lists. docs/on-disk-format.md draws it and a test holds the page to this.
 */
import { describe } from '../../structure.js';

/** "hfds" */
export const RECORD_MAGIC = 0x7364_6668;
export const RECORD_VERSION = 1;

export const RECORD_FLAGS = { clean: 0x1 } as const;

export const RECORD_HEADER = describe({
  name: 'dirty-stripe-record',
  sizeBytes: 512,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '"hfds": tells a record from what else lies in the gap' },
    { name: 'version', offset: 4, type: 'u32', why: '1' },
    {
      name: 'set_uuid',
      offset: 8,
      type: 'bytes',
      length: 16,
      why: 'the array that it is of: a record of another one is not used',
    },
    {
      name: 'generation',
      offset: 24,
      type: 'u64',
      why: 'rises with every record: the newest good one counts',
    },
    {
      name: 'follows',
      offset: 32,
      type: 'u64',
      why: 'the newest generation that was durable when this was written: if that is not found, the newest was lost and no older one may count',
    },
    { name: 'compat', offset: 40, type: 'u32', why: 'features that a reader may ignore: none yet' },
    {
      name: 'ro_compat',
      offset: 44,
      type: 'u32',
      why: 'features with which who does not know them may only read: none yet',
    },
    {
      name: 'incompat',
      offset: 48,
      type: 'u32',
      why: 'features with which who does not know them must not use the array: none yet',
    },
    {
      name: 'checksum',
      offset: 52,
      type: 'u32',
      why: 'CRC-32C of header and lists, this field zero: tells a record that was cut short',
    },
    {
      name: 'header_checksum',
      offset: 56,
      type: 'u32',
      why: 'CRC-32C of the header, both checksums zero: of a record that was cut short, its generations are still known',
    },
    { name: 'length', offset: 60, type: 'u32', why: 'bytes of header and lists' },
    {
      name: 'flags',
      offset: 64,
      type: 'u32',
      why: 'bit 0: clean, all that was written is flushed and no stripe is dirty',
    },
    { name: 'superblocks', offset: 68, type: 'u32', why: 'how many record-superblock follow the header' },
    { name: 'dirty', offset: 72, type: 'u32', why: 'how many record-dirty follow those' },
    { name: 'in_doubt', offset: 76, type: 'u32', why: 'how many record-in-doubt follow those' },
    { name: 'pad', offset: 80, type: 'bytes', length: 432, why: 'zero' },
  ],
});

export const RECORD_SUPERBLOCK = describe({
  name: 'record-superblock',
  sizeBytes: 16,
  fields: [
    { name: 'slot', offset: 0, type: 'u32', why: 'the slot of the member' },
    { name: 'pad', offset: 4, type: 'u32', why: 'zero' },
    {
      name: 'hash',
      offset: 8,
      type: 'u64',
      why: 'the first 8 bytes of the SHA-256 of its superblock as it may be on disk, opening_stamp and all; several for one slot while superblocks are being written',
    },
  ],
});

export const RECORD_DIRTY = describe({
  name: 'record-dirty',
  sizeBytes: 16,
  fields: [
    { name: 'stripe', offset: 0, type: 'u64', why: 'the first of some stripes whose parity may be wrong' },
    { name: 'count', offset: 8, type: 'u64', why: 'how many they are' },
  ],
});

export const RECORD_IN_DOUBT = describe({
  name: 'record-in-doubt',
  sizeBytes: 16,
  fields: [
    {
      name: 'sector',
      offset: 0,
      type: 'u64',
      why: 'the first of some sectors, in data, of which the missing member held what nobody can tell',
    },
    { name: 'count', offset: 8, type: 'u64', why: 'how many they are' },
  ],
});
