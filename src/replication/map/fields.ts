/**
 * A map of blocks on disk: a header, pages of the auxiliary map, and pages of the map itself. docs/on-disk-format.md draws
 * them and a test holds the page to this.
 */
import { describe } from '../../structure.js';
import { HEADER_CHECKSUM, HEADER_FIELDS } from '../file-header.js';

export const MAP_MAGIC = new Uint8Array(Buffer.from('hfrepmap', 'latin1'));
/** "hfmb", "hfma" */
export const MAP_PAGE_MAGICS = { blocks: 0x626d_6668, pages: 0x616d_6668 } as const;
/** What a block is that has its bit. */
export const MAP_KINDS = { dirty: 1, uncopied: 2, putBack: 3 } as const;

export const MAP_HEADER = describe({
  name: 'block-map-header',
  sizeBytes: 512,
  fields: [
    { name: 'magic', offset: 0, type: 'bytes', length: 8, why: '"hfrepmap": tells a map of blocks' },
    ...HEADER_FIELDS,
    {
      name: 'replica_uuid',
      offset: 48,
      type: 'bytes',
      length: 16,
      why: 'of the replica: each has maps of its own',
    },
    { name: 'blocks', offset: 64, type: 'u64', why: 'how many blocks of 4096 bytes the volume has' },
    {
      name: 'kind',
      offset: 72,
      type: 'u32',
      why: '1 the dirty map: blocks that may differ; 2 blocks that were never copied; 3 blocks that promote took back',
    },
    { name: 'pad', offset: 76, type: 'bytes', length: 432, why: 'zero' },
    HEADER_CHECKSUM,
  ],
});

export const MAP_PAGE = describe({
  name: 'block-map-page',
  sizeBytes: 512,
  fields: [
    {
      name: 'checksum',
      offset: 0,
      type: 'u32',
      why: 'CRC-32C of all behind it: a page that tore or has rotted counts as if all its bits were set',
    },
    {
      name: 'magic',
      offset: 4,
      type: 'u32',
      why: '"hfmb" in the map, "hfma" in the auxiliary map',
    },
    { name: 'id', offset: 8, type: 'u64', why: 'that of the header: a page of a former map is not taken' },
    {
      name: 'generation',
      offset: 16,
      type: 'u64',
      why: 'rises with each round of writing: tells what was written together',
    },
    { name: 'number', offset: 24, type: 'u32', why: 'its own number: a page in the wrong place is told' },
    { name: 'pad', offset: 28, type: 'u32', why: 'zero' },
    {
      name: 'bits',
      offset: 32,
      type: 'bytes',
      length: 480,
      why: 'bit b % 8, from the lowest, of byte b / 8 is block (in the auxiliary map: page) number * 3840 + b',
    },
  ],
});
