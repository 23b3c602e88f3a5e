/**
 * Flags that are kept elsewhere than at the metadata server, as they lie in the local file of a client and in journal
 * extents. docs/on-disk-format.md draws them and a test holds the page to this.
 */
import { describe } from '../../structure.js';

export const KEPT_MAGIC = new Uint8Array(Buffer.from('hfkflags', 'latin1'));
export const KEPT_VERSION = 1;
export const PLACE_CODES = { local: 1, data: 2 } as const;

export const KEPT_FLAGS = describe({
  name: 'kept-flags',
  sizeBytes: 512,
  fields: [
    { name: 'magic', offset: 0, type: 'bytes', length: 8, why: '"hfkflags": tells kept flags' },
    { name: 'version', offset: 8, type: 'u32', why: '1' },
    { name: 'place', offset: 12, type: 'u32', why: '1 a local file, 2 a journal extent' },
    {
      name: 'volume_uuid',
      offset: 16,
      type: 'bytes',
      length: 16,
      why: 'of the volume: flags of another one say nothing of this one',
    },
    {
      name: 'client',
      offset: 32,
      type: 'bytes',
      length: 16,
      why: "the first 16 bytes of SHA-256 of the client's name: nobody else goes on with it",
    },
    {
      name: 'sequence',
      offset: 48,
      type: 'u64',
      why: 'in a local file, rises with each writing: of two whole slots the higher one counts; in a journal extent, the number that the metadata server keeps',
    },
    {
      name: 'lies_in',
      offset: 56,
      type: 'u64',
      why: 'number of the slot, or of the extent: what was copied elsewhere is none',
    },
    { name: 'part', offset: 64, type: 'u32', why: 'which part of the content this is, from 0 on' },
    {
      name: 'parts',
      offset: 68,
      type: 'u32',
      why: 'how many there are, each in an extent; 1 in a local file',
    },
    { name: 'content_bytes', offset: 72, type: 'u64', why: 'bytes of the content that follow' },
    { name: 'content_checksum', offset: 80, type: 'u32', why: 'CRC-32C of them' },
    { name: 'blocks_per_extent', offset: 84, type: 'u32', why: 'bits of each bitmap' },
    { name: 'pad', offset: 88, type: 'bytes', length: 420, why: 'zero' },
    { name: 'checksum', offset: 508, type: 'u32', why: 'CRC-32C of all before it' },
  ],
});

export const KEPT_FILE = describe({
  name: 'kept-file',
  sizeBytes: 32,
  fields: [
    {
      name: 'number',
      offset: 0,
      type: 'u64',
      why: 'what the metadata server keeps of the file as long as this counts; another number, or none: it is void',
    },
    { name: 'file', offset: 8, type: 'u64', why: 'number of the file' },
    { name: 'size', offset: 16, type: 'u64', why: 'bytes that the file has after the commit' },
    { name: 'extents', offset: 24, type: 'u64', why: 'how many kept-extents follow' },
  ],
});

export const KEPT_EXTENT = describe({
  name: 'kept-extent',
  sizeBytes: 16,
  fields: [
    { name: 'index', offset: 0, type: 'u64', why: 'which extent of the file' },
    { name: 'journal', offset: 8, type: 'u64', why: 'number of its journal extent' },
  ],
});
