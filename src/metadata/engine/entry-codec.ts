/**
 * Keys with values, or with the news that they are gone, from bytes and to bytes: as the log has them and as leaves do.
 */
import { CHANGE_OVERHEAD_BYTES, type Change, MAX_VALUE_BYTES } from './contract.js';
import { ENTRY_KINDS, METADATA_ENTRY } from './fields.js';

const KEY_LENGTH_AT = METADATA_ENTRY.offsetOf('key_length');
const KIND_AT = METADATA_ENTRY.offsetOf('kind');
const VALUE_LENGTH_AT = METADATA_ENTRY.offsetOf('value_length');

/** One entry in bytes that hold many; offsets into them. */
export interface EntryPlace {
  readonly isDeleted: boolean;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueEnd: number;
}

/** There are many of them: a view of each would take longer than all the rest. */
export function putEntry(bytes: Uint8Array, at: number, key: Uint8Array, value: Uint8Array | null): number {
  const valueBytes = value?.byteLength ?? 0;
  bytes[at + KEY_LENGTH_AT] = key.byteLength;
  bytes[at + KIND_AT] = value === null ? ENTRY_KINDS.delete : ENTRY_KINDS.put;
  bytes[at + VALUE_LENGTH_AT] = valueBytes & 0xff;
  bytes[at + VALUE_LENGTH_AT + 1] = valueBytes >> 8;
  const keyStart = at + METADATA_ENTRY.sizeBytes;
  bytes.set(key, keyStart);
  if (value !== null) bytes.set(value, keyStart + key.byteLength);
  return keyStart + key.byteLength + valueBytes;
}

/** null: no entry that ends at or before `end` begins there. */
export function entryAt(bytes: Uint8Array, at: number, end: number): EntryPlace | null {
  const keyStart = at + METADATA_ENTRY.sizeBytes;
  if (keyStart > end) return null;
  const keyLength = bytes[at + KEY_LENGTH_AT]!;
  const kind = bytes[at + KIND_AT]!;
  const valueLength = bytes[at + VALUE_LENGTH_AT]! | (bytes[at + VALUE_LENGTH_AT + 1]! << 8);
  const isDeleted = kind === ENTRY_KINDS.delete;
  if (keyLength === 0 || valueLength > MAX_VALUE_BYTES || kind > ENTRY_KINDS.delete) return null;
  if (isDeleted && valueLength > 0) return null;
  const keyEnd = keyStart + keyLength;
  return keyEnd + valueLength > end ? null : { isDeleted, keyStart, keyEnd, valueEnd: keyEnd + valueLength };
}

/** The changes of a transaction, one behind another. `bytes`: how long they are, by transactionBytes. */
export function encodeChanges(changes: readonly Change[], bytes: number): Uint8Array {
  const encoded = new Uint8Array(bytes);
  let at = 0;
  for (const { key, value } of changes) at = putEntry(encoded, at, key, value);
  return encoded;
}

export function entryBytes(key: string, value: Uint8Array): number {
  return CHANGE_OVERHEAD_BYTES + key.length + value.byteLength;
}
