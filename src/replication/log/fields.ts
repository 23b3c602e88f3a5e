/**
 * The transaction log on disk: a header, and sectors that stand for themselves. docs/on-disk-format.md draws them and a
 * test holds the page to this.
 */
import { describe } from '../../structure.js';
import { HEADER_CHECKSUM, HEADER_FIELDS } from '../file-header.js';

export const LOG_MAGIC = new Uint8Array(Buffer.from('hfreplog', 'latin1'));
/** "hfls" */
export const LOG_SECTOR_MAGIC = 0x736c_6668;
export const ENTRY_KINDS = { none: 0, range: 1, done: 2 } as const;

export const LOG_HEADER = describe({
  name: 'transaction-log-header',
  sizeBytes: 512,
  fields: [
    { name: 'magic', offset: 0, type: 'bytes', length: 8, why: '"hfreplog": tells a transaction log' },
    ...HEADER_FIELDS,
    { name: 'sectors', offset: 48, type: 'u64', why: 'how many the log has, from byte 8192 on' },
    { name: 'pad', offset: 56, type: 'bytes', length: 452, why: 'zero' },
    HEADER_CHECKSUM,
  ],
});

export const LOG_SECTOR = describe({
  name: 'transaction-log-sector',
  sizeBytes: 512,
  fields: [
    {
      name: 'checksum',
      offset: 0,
      type: 'u32',
      why: 'CRC-32C of all behind it: tells a sector that tore, or has rotted',
    },
    { name: 'magic', offset: 4, type: 'u32', why: '"hfls"' },
    { name: 'id', offset: 8, type: 'u64', why: 'that of the header: a sector of a former log is not taken' },
    {
      name: 'number',
      offset: 16,
      type: 'u64',
      why: 'from 1 on, one more with each sector: it lies at (number - 1) modulo the sectors of the log. The highest one is the end of the log',
    },
    {
      name: 'start',
      offset: 24,
      type: 'u64',
      why: 'the start of the log: the oldest transaction that is active; where there is none below `begins`, that. Transactions below it are DONE',
    },
    {
      name: 'begins',
      offset: 32,
      type: 'u64',
      why: 'number of the first sector of the same log write: those from `start` up to it were durable before',
    },
    {
      name: 'entries',
      offset: 40,
      type: 'bytes',
      length: 472,
      why: '59 transaction-log-entry; zeroes from the first one on that is none',
    },
  ],
});

export const LOG_ENTRY = describe({
  name: 'transaction-log-entry',
  sizeBytes: 8,
  fields: [
    {
      name: 'first',
      offset: 0,
      type: 'u32',
      why: 'the first block of a range, or number of the first transaction: its low 32 bits',
    },
    { name: 'first_high', offset: 4, type: 'u16', why: 'its high 16 bits' },
    {
      name: 'count_kind',
      offset: 6,
      type: 'u16',
      why: 'bits 0 to 13: how many follow one another, less one; bits 14 and 15: 0 no entry, 1 blocks of 4096 bytes that this transaction lists, 2 transactions that are DONE',
    },
  ],
});
