/**
 * What lies beside a secondary, on disk: its marks and the epoch log; the container of what a resync overwrites is kept/fields.ts's.
 * docs/on-disk-format.md draws it and a test holds the page to this. What must be whole in itself is one sector.
 */
import { describe } from '../../structure.js';

/** "hfsm" */
export const MARKS_MAGIC = 0x6d73_6668;
/** "hfsl" */
export const LOG_MAGIC = 0x6c73_6668;
/** "hfse" */
export const RECORD_MAGIC = 0x6573_6668;
export const SECONDARY_VERSION = 1;

export const MARKS_FLAGS = { keptWhole: 0x1, forced: 0x2 } as const;
export const RECORD_FLAGS = { endsEpoch: 0x1 } as const;
export const ENTRY_KINDS = { data: 0, zeroes: 1, trim: 2 } as const;

export const SECONDARY_MARKS = describe({
  name: 'secondary-marks',
  sizeBytes: 512,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '"hfsm": tells the marks of a secondary' },
    { name: 'version', offset: 4, type: 'u32', why: '1' },
    { name: 'compat', offset: 8, type: 'u32', why: 'features that a reader may ignore: none yet' },
    {
      name: 'ro_compat',
      offset: 12,
      type: 'u32',
      why: 'features with which who does not know them may only read: none yet',
    },
    {
      name: 'incompat',
      offset: 16,
      type: 'u32',
      why: 'features with which who does not know them must not use it: none yet',
    },
    {
      name: 'state',
      offset: 20,
      type: 'u32',
      why: '1: initial, nothing consistent yet; 2: consistent; 3: resyncing; 4: promoting, what was kept is being put back; 5: promoted, a volume of its own',
    },
    {
      name: 'sequence',
      offset: 24,
      type: 'u64',
      why: 'rises with every change: the newest good slot counts',
    },
    { name: 'volume_uuid', offset: 32, type: 'bytes', length: 16, why: 'of the primary' },
    {
      name: 'replica_uuid',
      offset: 48,
      type: 'bytes',
      length: 16,
      why: 'of this secondary: the log names it too',
    },
    { name: 'size', offset: 64, type: 'u64', why: 'bytes of the image that are replicated' },
    { name: 'generation', offset: 72, type: 'u64', why: 'of the volume: a promote starts the next one' },
    {
      name: 'generation_id',
      offset: 80,
      type: 'bytes',
      length: 16,
      why: 'random: two that were promoted apart have one number, and not one id',
    },
    { name: 'parent', offset: 96, type: 'u64', why: 'the generation that this one came from' },
    {
      name: 'parent_id',
      offset: 104,
      type: 'bytes',
      length: 16,
      why: 'its id: by it an old primary is known',
    },
    {
      name: 'point_epoch',
      offset: 120,
      type: 'u64',
      why: 'the last epoch that is known to be in the image; while resyncing the last consistent point, which the container goes back to',
    },
    {
      name: 'point_ms',
      offset: 128,
      type: 'u64',
      why: "the primary's wall clock at the end of that epoch, milliseconds since 1970",
    },
    {
      name: 'kept_id',
      offset: 136,
      type: 'bytes',
      length: 16,
      why: 'of what the container keeps: random with each resync, so that what an earlier one kept does not count',
    },
    {
      name: 'flags',
      offset: 152,
      type: 'u32',
      why: 'bit 0: all that was overwritten since the point is in the container; bit 1: promoted by force, at no consistent point',
    },
    { name: 'pad', offset: 156, type: 'bytes', length: 352, why: 'zero' },
    { name: 'checksum', offset: 508, type: 'u32', why: 'CRC-32C of all before it' },
  ],
});

export const EPOCH_LOG_HEADER = describe({
  name: 'epoch-log-header',
  sizeBytes: 512,
  fields: [
    { name: 'magic', offset: 0, type: 'u32', why: '"hfsl": tells an epoch log' },
    { name: 'version', offset: 4, type: 'u32', why: '1' },
    { name: 'compat', offset: 8, type: 'u32', why: 'features that a reader may ignore: none yet' },
    {
      name: 'ro_compat',
      offset: 12,
      type: 'u32',
      why: 'features with which who does not know them may only read: none yet',
    },
    {
      name: 'incompat',
      offset: 16,
      type: 'u32',
      why: 'features with which who does not know them must not use it: none yet',
    },
    { name: 'pad', offset: 20, type: 'u32', why: 'zero' },
    {
      name: 'sequence',
      offset: 24,
      type: 'u64',
      why: 'rises with every header: the newest good slot counts',
    },
    {
      name: 'log_id',
      offset: 32,
      type: 'bytes',
      length: 16,
      why: 'random with each opening that writes: records of an earlier opening do not count',
    },
    { name: 'replica_uuid', offset: 48, type: 'bytes', length: 16, why: 'that of the marks' },
    { name: 'ring_bytes', offset: 64, type: 'u64', why: 'how long the circular part is; it begins at 8192' },
    {
      name: 'tail',
      offset: 72,
      type: 'u64',
      why: 'position from which records are read: all before it is in the image and flushed',
    },
    { name: 'applied', offset: 80, type: 'u64', why: 'number of the last epoch before the tail' },
    { name: 'applied_ms', offset: 88, type: 'u64', why: 'the wall clock at its end' },
    {
      name: 'kept_id',
      offset: 96,
      type: 'bytes',
      length: 16,
      why: 'that of the marks when this was written',
    },
    {
      name: 'kept_groups',
      offset: 112,
      type: 'u64',
      why: 'groups that the container of this kept_id has at least: fewer good ones are damage',
    },
    { name: 'rest', offset: 120, type: 'bytes', length: 388, why: 'zero' },
    { name: 'checksum', offset: 508, type: 'u32', why: 'CRC-32C of all before it' },
  ],
});

export const EPOCH_RECORD = describe({
  name: 'epoch-record',
  sizeBytes: 88,
  fields: [
    {
      name: 'checksum',
      offset: 0,
      type: 'u32',
      why: 'CRC-32C of all behind it, up to `length`: tells a record that was cut short',
    },
    {
      name: 'header_checksum',
      offset: 4,
      type: 'u32',
      why: 'CRC-32C of the rest of this header: what `durable` says counts even where the record is not whole',
    },
    { name: 'magic', offset: 8, type: 'u32', why: '"hfse"' },
    { name: 'flags', offset: 12, type: 'u32', why: 'bit 0: the epoch ends with this record' },
    { name: 'log_id', offset: 16, type: 'bytes', length: 16, why: 'that of the header' },
    {
      name: 'position',
      offset: 32,
      type: 'u64',
      why: 'bytes of the log before it since the opening: it lies at this, modulo ring_bytes, so one of an earlier round is told',
    },
    { name: 'epoch', offset: 40, type: 'u64', why: 'number of its epoch: they rise by one' },
    {
      name: 'durable',
      offset: 48,
      type: 'u64',
      why: 'the last epoch that was durable when it was written: if that one is not found the log is damaged',
    },
    { name: 'length', offset: 56, type: 'u64', why: 'bytes of header, entries and content, whole sectors' },
    {
      name: 'entries',
      offset: 64,
      type: 'u32',
      why: 'how many epoch-entry follow; then, at the next sector, the content of those that have some',
    },
    {
      name: 'records',
      offset: 68,
      type: 'u32',
      why: 'how many records of the epoch come before this one',
    },
    {
      name: 'chain',
      offset: 72,
      type: 'u32',
      why: 'CRC-32C of the checksums of those, 0 where there is none: an epoch counts with all its records or not at all',
    },
    { name: 'pad', offset: 76, type: 'u32', why: 'zero' },
    {
      name: 'ended_ms',
      offset: 80,
      type: 'u64',
      why: "the primary's wall clock at the end of the epoch; 0 where it does not end here",
    },
  ],
});

export const EPOCH_ENTRY = describe({
  name: 'epoch-entry',
  sizeBytes: 24,
  fields: [
    { name: 'offset', offset: 0, type: 'u64', why: 'byte of the image' },
    { name: 'length', offset: 8, type: 'u64', why: 'bytes' },
    {
      name: 'kind',
      offset: 16,
      type: 'u32',
      why: '0: content follows; 1: zeroes; 2: trimmed, which reads as zeroes here',
    },
    { name: 'pad', offset: 20, type: 'u32', why: 'zero' },
  ],
});
