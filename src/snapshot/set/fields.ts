/**
 * The list of the pieces of a backup, on disk. docs/on-disk-format.md draws it and a test holds the page to this.
 */
import { describe } from '../../structure.js';

/** "hfbp" */
export const PIECES_MAGIC = 0x7062_6668;
export const PIECES_VERSION = 1;

export const PIECE_KINDS = { data: 0, zeroes: 1, unused: 2 } as const;

export const BACKUP_PIECES = describe({
  name: 'backup-pieces',
  sizeBytes: 128,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '"hfbp": tells the pieces of a backup' },
    { name: 'version', offset: 4, type: 'u32', why: '1' },
    { name: 'compat', offset: 8, type: 'u32', why: 'features that a reader may ignore: none yet' },
    {
      name: 'incompat',
      offset: 12,
      type: 'u32',
      why: 'features with which who does not know them must not use it: none yet',
    },
    {
      name: 'set_uuid',
      offset: 16,
      type: 'bytes',
      length: 16,
      why: 'of the set: a folder of another one is none of its backups',
    },
    {
      name: 'backup_id',
      offset: 32,
      type: 'bytes',
      length: 16,
      why: 'random, of the backup: what was there before under its name is not taken for part of it',
    },
    { name: 'size', offset: 48, type: 'u64', why: 'bytes of the volume' },
    { name: 'data_bytes', offset: 56, type: 'u64', why: 'bytes of `data`: a shorter one was cut' },
    { name: 'pieces', offset: 64, type: 'u64', why: 'how many backup-piece follow' },
    {
      name: 'chunk',
      offset: 72,
      type: 'u32',
      why: 'no piece with content is longer: what a reader holds at once',
    },
    {
      name: 'checksum',
      offset: 76,
      type: 'u32',
      why: 'CRC-32C of the whole file, this field taken as zero',
    },
    { name: 'rest', offset: 80, type: 'bytes', length: 48, why: 'zero' },
  ],
});

export const BACKUP_PIECE = describe({
  name: 'backup-piece',
  sizeBytes: 64,
  fields: [
    {
      name: 'offset',
      offset: 0,
      type: 'u64',
      why: 'byte of the volume; each piece begins where the one before it ends, or later',
    },
    { name: 'length', offset: 8, type: 'u64', why: 'bytes' },
    {
      name: 'data_offset',
      offset: 16,
      type: 'u64',
      why: 'where its content is in `data`; 0 where it has none',
    },
    {
      name: 'kind',
      offset: 24,
      type: 'u32',
      why: '0: content; 1: zeroes, which have none; 2: nobody uses it, which reads as zeroes: what is there when somebody does is not known',
    },
    { name: 'pad', offset: 28, type: 'u32', why: 'zero' },
    {
      name: 'hash',
      offset: 32,
      type: 'bytes',
      length: 32,
      why: 'SHA-256 of its content; 0 where it has none',
    },
  ],
});
