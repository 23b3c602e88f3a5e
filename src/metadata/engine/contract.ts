/**
 * The contract of a metadata engine: ordered keys and values with transactions, and nothing else. The metadata server
 * keeps all its state in one, and knows no more of it than this page; one conformance suite
 * (test/metadata/engine/engine-conformance.ts) holds every engine to it.
 *
 * - Keys are in the order of their bytes. A key has 1 to 255 bytes, a value 0 to 3072, a transaction 1 MiB at most,
 *   with 4 bytes for each change. What is longer is a fault of whoever asks, not of the user: a RangeError.
 * - A transaction is all there or not at all, whatever happens. Of two changes of one key the later counts.
 * - Reads see a transaction from the call of `commit` on, before it is durable; but where the engine has no room for
 *   it just then, from the moment that it has. What failed is seen by reads until the engine is closed.
 * - Transactions become durable in the order of their calls. Whoever was answered after reading what is not durable yet,
 *   and commits something for it, is durable after it.
 * - After a failed write or flush nothing is known of what is on disk: each later commit is refused, reads go on.
 */

/** One change of a transaction; `value` null takes the key out. */
export interface Change {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface MetadataEngine {
  /** A copy of the value; null: there is none. */
  get(key: Uint8Array): Promise<Uint8Array | null>;
  /**
   * In the order of keys, from `from` (which may be empty) up to and without `to`. What is committed while it goes on
   * may be seen or not; each key is given once at most, and what nobody touches is given.
   */
  entries(from: Uint8Array, to: Uint8Array): AsyncIterable<Entry>;
  /**
   * All of it or nothing; durable when it resolves. Those that come together share one write.
   * Throws NO_SPACE before anything is changed, and what made an earlier commit fail.
   */
  commit(changes: readonly Change[]): Promise<void>;
  /** Makes the next opening short. What was committed is as durable without it. */
  checkpoint(): Promise<void>;
  /** Waits for what was begun. What lies below stays open. Closing twice is allowed. */
  close(): Promise<void>;
}

export const MAX_KEY_BYTES = 255;
export const MAX_VALUE_BYTES = 3072;
export const MAX_TRANSACTION_BYTES = 1024 * 1024;
/** What a change has beside its key and its value, on disk and in the count of a transaction. */
export const CHANGE_OVERHEAD_BYTES = 4;

/** Bytes of a transaction, as they are counted. Throws RangeError for what no engine takes. */
export function transactionBytes(changes: readonly Change[], limitBytes = MAX_TRANSACTION_BYTES): number {
  let bytes = 0;
  for (const { key, value } of changes) {
    if (key.byteLength === 0 || key.byteLength > MAX_KEY_BYTES)
      throw new RangeError(`a key has 1 to ${MAX_KEY_BYTES} bytes, not ${key.byteLength}`);
    if (value !== null && value.byteLength > MAX_VALUE_BYTES)
      throw new RangeError(`a value has ${MAX_VALUE_BYTES} bytes at most, not ${value.byteLength}`);
    bytes += CHANGE_OVERHEAD_BYTES + key.byteLength + (value?.byteLength ?? 0);
  }
  if (bytes > limitBytes) throw new RangeError(`a transaction has ${limitBytes} bytes at most, not ${bytes}`);
  return bytes;
}
