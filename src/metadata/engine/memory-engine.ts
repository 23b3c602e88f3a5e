/**
 * A metadata engine in memory, for tests and for what is not to outlive the process. Nothing of it is durable; all
 * else is as the contract has it.
 */
import { type Change, type Entry, type MetadataEngine, transactionBytes } from './contract.js';
import { keyAfter, keyBytes, keyText } from './key-text.js';
import { SortedMap } from './sorted-map.js';

/** So many entries are taken at a time: what is committed in between may be seen. */
const BATCH_ENTRIES = 64;

export class MemoryEngine implements MetadataEngine {
  readonly #content = new SortedMap<Uint8Array>();
  #isClosed = false;

  async get(key: Uint8Array): Promise<Uint8Array | null> {
    this.#open();
    return this.#content.get(keyText(key))?.slice() ?? null;
  }

  async *entries(from: Uint8Array, to: Uint8Array): AsyncGenerator<Entry> {
    const end = keyText(to);
    let next = keyText(from);
    for (;;) {
      this.#open();
      const batch: Entry[] = [];
      for (const [key, value] of this.#content.range(next, end)) {
        batch.push({ key: keyBytes(key), value: value.slice() });
        next = keyAfter(key);
        if (batch.length === BATCH_ENTRIES) break;
      }
      if (batch.length === 0) return;
      yield* batch;
    }
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#open();
    transactionBytes(changes);
    for (const { key, value } of changes) {
      if (value === null) this.#content.delete(keyText(key));
      else this.#content.set(keyText(key), value.slice());
    }
  }

  async checkpoint(): Promise<void> {
    this.#open();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #open(): void {
    if (this.#isClosed) throw new Error('the metadata engine is closed');
  }
}
