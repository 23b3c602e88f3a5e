/**
 * The metadata engine on disk: what each half of its range holds. docs/on-disk-format.md draws it and a test holds the
 * page to this.
 *
 * Checksums stand first where a structure's length varies or its content is long: each is of all that follows it.
 */
import { describe } from '../../structure.js';

export const HEADER_MAGIC = new Uint8Array(Buffer.from('hfmeta\0\0', 'latin1'));
export const HEADER_VERSION = 1;
/** "hfmr", "hfmp", "hfml" */
export const ROOT_MAGIC = 0x726d_6668;
export const PAGE_MAGIC = 0x706d_6668;
export const RECORD_MAGIC = 0x6c6d_6668;

export const PAGE_KINDS = { leaf: 1, branch: 2, allocation: 3 } as const;
export const ENTRY_KINDS = { put: 0, delete: 1 } as const;

export const METADATA_HEADER = describe({
  name: 'metadata-header',
  sizeBytes: 512,
  fields: [
    {
      name: 'magic',
      offset: 0,
      type: 'bytes',
      length: 8,
      why: '"hfmeta" and two zeroes: tells a half of a metadata engine',
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
      name: 'uuid',
      offset: 24,
      type: 'bytes',
      length: 16,
      why: 'random, new with each making: what an earlier engine left in the range is not taken for part of this one',
    },
    { name: 'page_bytes', offset: 40, type: 'u32', why: 'bytes of a page: 16384' },
    {
      name: 'allocation_pages',
      offset: 44,
      type: 'u32',
      why: 'pages of one allocation map; there are two maps',
    },
    { name: 'half_bytes', offset: 48, type: 'u64', why: 'bytes of this half; the other one follows it' },
    { name: 'log_offset', offset: 56, type: 'u64', why: 'byte of the half at which the log begins' },
    { name: 'log_bytes', offset: 64, type: 'u64', why: 'how long the log is, whole blocks of 4096 bytes' },
    {
      name: 'pages_offset',
      offset: 72,
      type: 'u64',
      why: 'byte of the half at which the pages of the tree begin',
    },
    { name: 'pages', offset: 80, type: 'u64', why: 'how many these are' },
    { name: 'pad', offset: 88, type: 'bytes', length: 420, why: 'zero' },
    { name: 'checksum', offset: 508, type: 'u32', why: 'CRC-32C of all before it' },
  ],
});

export const METADATA_ROOT = describe({
  name: 'metadata-root',
  sizeBytes: 512,
  fields: [
    { name: 'checksum', offset: 0, type: 'u32', why: 'CRC-32C of all behind it' },
    { name: 'magic', offset: 4, type: 'u32', why: '"hfmr"' },
    { name: 'uuid', offset: 8, type: 'bytes', length: 16, why: 'that of the header' },
    {
      name: 'generation',
      offset: 24,
      type: 'u64',
      why: 'rises by one with each root: the newest good one counts; its lowest bit is the slot and the allocation map',
    },
    {
      name: 'epoch',
      offset: 32,
      type: 'u64',
      why: 'of the opening that wrote it: a log record of a lower one is a leftover',
    },
    {
      name: 'log_position',
      offset: 40,
      type: 'u64',
      why: 'where the log is read from: all before it is in the tree',
    },
    { name: 'log_sequence', offset: 48, type: 'u64', why: 'the sequence number of the record there' },
    { name: 'entries', offset: 56, type: 'u64', why: 'how many keys the tree has' },
    {
      name: 'levels',
      offset: 64,
      type: 'u32',
      why: 'how many pages lie on the way to any value; 0: the tree is empty and has no page',
    },
    {
      name: 'pages_used',
      offset: 68,
      type: 'u32',
      why: 'how many pages the tree has: as many bits are set in the map',
    },
    { name: 'page', offset: 72, type: 'u32', why: 'number of the topmost page' },
    { name: 'page_checksum', offset: 76, type: 'u32', why: 'the checksum that the page has' },
    { name: 'page_generation', offset: 80, type: 'u64', why: 'the generation that the page has' },
    { name: 'pad', offset: 88, type: 'bytes', length: 424, why: 'zero' },
  ],
});

export const METADATA_PAGE = describe({
  name: 'metadata-page',
  sizeBytes: 64,
  fields: [
    { name: 'checksum', offset: 0, type: 'u32', why: 'CRC-32C of all behind it, to the end of the page' },
    { name: 'magic', offset: 4, type: 'u32', why: '"hfmp"' },
    {
      name: 'uuid',
      offset: 8,
      type: 'bytes',
      length: 16,
      why: "that of the header: another engine's page gives itself away",
    },
    {
      name: 'generation',
      offset: 24,
      type: 'u64',
      why: 'of the root with which it was written: an old page that was put back is told',
    },
    { name: 'number', offset: 32, type: 'u32', why: 'its own number: a page in the wrong place is told' },
    { name: 'kind', offset: 36, type: 'u8', why: '1 leaf, 2 branch, 3 part of an allocation map' },
    { name: 'level', offset: 37, type: 'u8', why: 'levels below it: 0 in a leaf' },
    {
      name: 'count',
      offset: 38,
      type: 'u16',
      why: 'how many metadata-entry or metadata-child follow; 0 in an allocation map',
    },
    {
      name: 'used',
      offset: 40,
      type: 'u32',
      why: 'bytes of this header and what follows it; the rest is zero',
    },
    { name: 'pad', offset: 44, type: 'bytes', length: 20, why: 'zero' },
  ],
});

export const METADATA_CHILD = describe({
  name: 'metadata-child',
  sizeBytes: 20,
  fields: [
    {
      name: 'key_length',
      offset: 0,
      type: 'u8',
      why: 'bytes of the key that follows: no key of the child is below it; the first child of all may have an empty one',
    },
    { name: 'pad', offset: 1, type: 'bytes', length: 3, why: 'zero' },
    { name: 'page', offset: 4, type: 'u32', why: 'number of the child' },
    { name: 'generation', offset: 8, type: 'u64', why: 'the generation that the child has' },
    { name: 'checksum', offset: 16, type: 'u32', why: 'the checksum that the child has' },
  ],
});

export const METADATA_ENTRY = describe({
  name: 'metadata-entry',
  sizeBytes: 4,
  fields: [
    { name: 'key_length', offset: 0, type: 'u8', why: 'bytes of the key that follows, 1 or more' },
    {
      name: 'kind',
      offset: 1,
      type: 'u8',
      why: '0: the value follows the key; 1, in the log alone: the key is taken out',
    },
    { name: 'value_length', offset: 2, type: 'u16', why: 'bytes of the value, 3072 at most' },
  ],
});

export const METADATA_LOG_RECORD = describe({
  name: 'metadata-log-record',
  sizeBytes: 64,
  fields: [
    {
      name: 'checksum',
      offset: 0,
      type: 'u32',
      why: 'CRC-32C of all behind it, up to `length`: tells a record that was cut short',
    },
    { name: 'magic', offset: 4, type: 'u32', why: '"hfml"' },
    { name: 'uuid', offset: 8, type: 'bytes', length: 16, why: 'that of the header' },
    {
      name: 'position',
      offset: 24,
      type: 'u64',
      why: 'bytes of the log before it since the making, so that one of an earlier round is told: it lies at this, modulo log_bytes',
    },
    { name: 'sequence', offset: 32, type: 'u64', why: 'one more than that of the record before' },
    {
      name: 'epoch',
      offset: 40,
      type: 'u64',
      why: 'higher with each opening that writes: never falls from record to record',
    },
    {
      name: 'root',
      offset: 48,
      type: 'u64',
      why: 'generation of the newest root that was durable when it was written: an older root alone is damage',
    },
    {
      name: 'length',
      offset: 56,
      type: 'u32',
      why: 'bytes of this header and the changes; the next record begins at the next block of 4096 bytes',
    },
    {
      name: 'changes',
      offset: 60,
      type: 'u32',
      why: 'how many metadata-entry follow, of one or more whole transactions',
    },
  ],
});
