/**
 * Records of the log from bytes and to bytes: the changes of one or more whole transactions. What is decoded has a good
 * checksum and stands where it says; whether it follows the one before it is for log-reader.ts.
 */
import { crc32c } from '@node-rs/crc32';
import { allCountable } from './checked-numbers.js';
import { entryAt } from './entry-codec.js';
import { METADATA_LOG_RECORD, RECORD_MAGIC } from './fields.js';
import type { Checked } from './halves.js';
import { keyText } from './key-text.js';
import { BLOCK_BYTES, roundUp } from './layout.js';
import type { KeyChange } from './tree-merge.js';

export const RECORD_HEADER_BYTES = METADATA_LOG_RECORD.sizeBytes;

export interface RecordHead {
  readonly position: number;
  readonly sequence: number;
  readonly epoch: number;
  /** Generation of the newest root that was durable. */
  readonly root: number;
}

export interface LogRecord extends RecordHead {
  /** Bytes of the log, whole blocks. */
  readonly lengthBytes: number;
  readonly changes: readonly KeyChange[];
}

export function encodeRecord(
  head: RecordHead,
  uuid: Uint8Array,
  transactions: readonly { readonly encoded: Uint8Array; readonly changes: number }[],
): Uint8Array {
  const changesBytes = transactions.reduce((sum, { encoded }) => sum + encoded.byteLength, 0);
  const bytes = new Uint8Array(roundUp(RECORD_HEADER_BYTES + changesBytes, BLOCK_BYTES));
  const view = METADATA_LOG_RECORD.at(bytes);
  view.setNumber('magic', RECORD_MAGIC);
  view.setBytes('uuid', uuid);
  view.setBig('position', BigInt(head.position));
  view.setBig('sequence', BigInt(head.sequence));
  view.setBig('epoch', BigInt(head.epoch));
  view.setBig('root', BigInt(head.root));
  view.setNumber('length', RECORD_HEADER_BYTES + changesBytes);
  view.setNumber(
    'changes',
    transactions.reduce((sum, { changes }) => sum + changes, 0),
  );
  let at = RECORD_HEADER_BYTES;
  for (const { encoded } of transactions) {
    bytes.set(encoded, at);
    at += encoded.byteLength;
  }
  view.setNumber('checksum', crc32c(bytes.subarray(4, at)));
  return bytes;
}

/** Whether the first block of something says that it is the record of this position; and how long it says it is. */
export function recordLength(block: Uint8Array, uuid: Uint8Array, position: number): number | null {
  const view = METADATA_LOG_RECORD.at(block);
  if (view.number('magic') !== RECORD_MAGIC || view.big('position') !== BigInt(position)) return null;
  if (Buffer.compare(view.bytes('uuid'), uuid) !== 0) return null;
  return view.number('length');
}

/** `bytes`: as many as `recordLength` said, or more. */
export function decodeRecord(bytes: Uint8Array): Checked<LogRecord> {
  const view = METADATA_LOG_RECORD.at(bytes);
  const length = view.number('length');
  if (length < RECORD_HEADER_BYTES || length > bytes.byteLength)
    return { bad: `its length of ${length} bytes cannot be` };
  if (view.number('checksum') !== crc32c(bytes.subarray(4, length)))
    return { bad: 'its checksum is wrong: it was cut short, or has rotted' };
  const head = allCountable({
    position: view.big('position'),
    sequence: view.big('sequence'),
    epoch: view.big('epoch'),
    root: view.big('root'),
  });
  const changes = changesIn(bytes.subarray(0, length), view.number('changes'));
  if (head === null || changes === null) return { bad: 'what it holds is no list of changes' };
  return { good: { ...head, changes, lengthBytes: roundUp(length, BLOCK_BYTES) } };
}

function changesIn(bytes: Uint8Array, count: number): KeyChange[] | null {
  const changes: KeyChange[] = [];
  let at = RECORD_HEADER_BYTES;
  while (at < bytes.byteLength) {
    const entry = entryAt(bytes, at, bytes.byteLength);
    if (entry === null) return null;
    const key = keyText(bytes.subarray(entry.keyStart, entry.keyEnd));
    changes.push([key, entry.isDeleted ? null : bytes.slice(entry.keyEnd, entry.valueEnd)]);
    at = entry.valueEnd;
  }
  return changes.length === count ? changes : null;
}
