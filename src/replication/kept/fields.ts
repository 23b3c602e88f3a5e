/**
 * Groups of kept blocks (docs/on-disk-format.md, "Kept blocks"): what blocks of a device held before they were overwritten.
 */
import { describe } from '../../structure.js';

/** "hfsk" */
export const KEPT_MAGIC = 0x6b73_6668;
export const KEPT_KINDS = { data: 0, zeroes: 1, changed: 2 } as const;

export const KEPT_GROUP = describe({
  name: 'kept-group',
  sizeBytes: 64,
  fields: [
    { name: 'checksum', offset: 0, type: 'u32', why: 'CRC-32C of all behind it, up to the content' },
    { name: 'magic', offset: 4, type: 'u32', why: '"hfsk"' },
    {
      name: 'kept_id',
      offset: 8,
      type: 'bytes',
      length: 16,
      why: 'of the container: a group of an earlier one in its place does not count',
    },
    { name: 'number', offset: 24, type: 'u64', why: 'from 0 on, one after the other' },
    { name: 'entries', offset: 32, type: 'u32', why: 'how many kept-entry follow' },
    { name: 'pad', offset: 36, type: 'u32', why: 'zero' },
    { name: 'content', offset: 40, type: 'u64', why: 'bytes of content, which begins at the next sector' },
    {
      name: 'sure',
      offset: 48,
      type: 'u64',
      why: 'so many groups were durable before it was written: one of these that is no good is damaged, and not torn',
    },
    { name: 'rest', offset: 56, type: 'bytes', length: 8, why: 'zero' },
  ],
});

export const KEPT_ENTRY = describe({
  name: 'kept-entry',
  sizeBytes: 24,
  fields: [
    { name: 'block', offset: 0, type: 'u64', why: 'the first of some blocks of 4096 bytes of the image' },
    {
      name: 'count',
      offset: 8,
      type: 'u64',
      why: 'how many they are; the last block of the image may be short',
    },
    {
      name: 'kind',
      offset: 16,
      type: 'u32',
      why: '0: their content follows, in the order of the entries; 1: they were zeroes; 2: they are changed since, and what they held is not kept',
    },
    { name: 'checksum', offset: 20, type: 'u32', why: 'CRC-32C of their content; 0 where none follows' },
  ],
});
