/**
 * The file of a trace: a head, then frames one after another, each a batch of items (items.ts). It is written from front to back and never
 * changed: what is whole of a file that was cut can be used.
 */
import { describe } from '../../structure.js';

export const TRACE_HEAD = describe({
  name: 'trace-head',
  sizeBytes: 512,
  fields: [
    {
      name: 'magic',
      offset: 0,
      type: 'bytes',
      length: 8,
      why: '`HFTRACE1`: what it is can be told whatever it is called',
    },
    { name: 'version', offset: 8, type: 'u32', why: '1' },
    { name: 'compat', offset: 12, type: 'u32', why: 'features that a reader may ignore: none yet' },
    {
      name: 'ro_compat',
      offset: 16,
      type: 'u32',
      why: 'as elsewhere; a trace is only read, so it may be ignored too',
    },
    {
      name: 'incompat',
      offset: 20,
      type: 'u32',
      why: 'features without which it cannot be understood: none yet',
    },
    {
      name: 'id',
      offset: 24,
      type: 'bytes',
      length: 16,
      why: 'random: by its first half a frame of another trace is told apart, by the whole what was found in this one',
    },
    {
      name: 'created_ms',
      offset: 40,
      type: 'u64',
      why: 'milliseconds since 1970, when the recording began: events count from there',
    },
    { name: 'rest', offset: 48, type: 'bytes', length: 460, why: 'zeroes' },
    { name: 'checksum', offset: 508, type: 'u32', why: 'CRC-32C of all before it' },
  ],
});

export const TRACE_FRAME = describe({
  name: 'trace-frame',
  sizeBytes: 32,
  fields: [
    { name: 'magic', offset: 0, type: 'bytes', length: 4, why: '`HFTF`' },
    { name: 'number', offset: 4, type: 'u32', why: 'counted from 0: none is left out, and none comes twice' },
    { name: 'stored_bytes', offset: 8, type: 'u32', why: 'of the payload behind it' },
    { name: 'raw_bytes', offset: 12, type: 'u32', why: 'of the items, at most 16 MiB' },
    {
      name: 'encoding',
      offset: 16,
      type: 'u32',
      why: '0: the payload is the items; 1: deflated (RFC 1951), where that is shorter',
    },
    { name: 'trace', offset: 20, type: 'bytes', length: 8, why: 'the first half of the id of the head' },
    {
      name: 'checksum',
      offset: 28,
      type: 'u32',
      why: 'CRC-32C of what comes before it in the frame, and of the payload as it is stored',
    },
  ],
});

export const TRACE_MAGIC = Buffer.from('HFTRACE1', 'latin1');
export const FRAME_MAGIC = Buffer.from('HFTF', 'latin1');
export const TRACE_VERSION = 1;
export const PLAIN = 0;
export const DEFLATED = 1;
export const MAX_RAW_BYTES = 16 * 1024 * 1024;
/** Of one write: more than any disk is asked for at once. */
export const MAX_WRITE_BYTES = 256 * 1024 * 1024;
