/**
 * An engine over one that is opened for reading: what is committed stays in memory and is gone with it. So the metadata
 * server can run over metadata that nothing may be written to (it takes back what a crash left half put, say), and who
 * reads sees what recovery would make of it.
 */
import { type Change, type Entry, type MetadataEngine, transactionBytes } from './contract.js';
import { keyText } from './key-text.js';
import { SortedMap } from './sorted-map.js';

export class OverlayEngine implements MetadataEngine {
  readonly #base: Pick<MetadataEngine, 'get' | 'entries' | 'close'>;
  readonly #changes = new SortedMap<Change>();
  #isClosed = false;

  /** `base` is closed with it. */
  constructor(base: Pick<MetadataEngine, 'get' | 'entries' | 'close'>) {
    this.#base = base;
  }

  async get(key: Uint8Array): Promise<Uint8Array | null> {
    this.#expectOpen();
    const change = this.#changes.get(keyText(key));
    return change === undefined ? this.#base.get(key) : (change.value?.slice() ?? null);
  }

  async *entries(from: Uint8Array, to: Uint8Array): AsyncGenerator<Entry> {
    this.#expectOpen();
    const own = [...this.#changes.range(keyText(from), keyText(to))];
    for await (const { key, value } of entriesOver(this.#base.entries(from, to), own))
      yield { key: key.slice(), value: value.slice() };
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#expectOpen();
    transactionBytes(changes);
    for (const { key, value } of changes) {
      const kept = { key: key.slice(), value: value?.slice() ?? null };
      this.#changes.set(keyText(key), kept);
    }
  }

  async checkpoint(): Promise<void> {
    this.#expectOpen();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#base.close();
  }

  #expectOpen(): void {
    if (this.#isClosed) throw new Error('the metadata engine is closed');
  }
}

/** The entries of what lies below, with changes over them: both in the order of keys. */
export async function* entriesOver(
  base: AsyncIterable<Entry>,
  changes: readonly (readonly [string, Change])[],
): AsyncGenerator<Entry> {
  let next = 0;
  for await (const entry of base) {
    const at = keyText(entry.key);
    for (; next < changes.length && changes[next]![0] < at; next++) yield* present(changes[next]![1]);
    if (changes[next]?.[0] === at) yield* present(changes[next++]![1]);
    else yield entry;
  }
  for (; next < changes.length; next++) yield* present(changes[next]![1]);
}

function* present({ key, value }: Change): Generator<Entry> {
  if (value !== null) yield { key, value };
}
