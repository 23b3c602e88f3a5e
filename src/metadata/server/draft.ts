/**
 * Changes that are not in the engine yet, over what is: a message reads and changes its draft as if it were the
 * engine, and leaves no trace where it is refused. Drafts lie on drafts: one of each message on one of the group that
 * shares an engine commit.
 */
import { CHANGE_OVERHEAD_BYTES, type Change, type Entry, type MetadataEngine } from '../engine/contract.js';
import { keyText } from '../engine/key-text.js';
import { entriesOver } from '../engine/overlay-engine.js';
import { SortedMap } from '../engine/sorted-map.js';
import type { KeyRange } from './keys.js';

export type Readable = Pick<MetadataEngine, 'get' | 'entries'>;

export class Draft implements Readable {
  readonly #base: Readable;
  #changes = new SortedMap<Change>();
  #bytes = 0;

  constructor(base: Readable) {
    this.#base = base;
  }

  /** What a commit of it takes, in bytes, as the engine counts them. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#changes.size === 0;
  }

  changes(): Change[] {
    return [...this.#changes.range()].map(([, change]) => change);
  }

  async get(key: Uint8Array): Promise<Uint8Array | null> {
    const change = this.#changes.get(keyText(key));
    return change === undefined ? this.#base.get(key) : change.value;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#change({ key, value });
  }

  delete(key: Uint8Array): void {
    this.#change({ key, value: null });
  }

  /** What is changed while this runs may or may not be seen. */
  async *entries(from: Uint8Array, to: Uint8Array): AsyncGenerator<Entry> {
    const own = [...this.#changes.range(keyText(from), keyText(to))];
    if (own.length === 0) {
      yield* this.#base.entries(from, to);
      return;
    }
    yield* entriesOver(this.#base.entries(from, to), own);
  }

  under({ from, to }: KeyRange): AsyncGenerator<Entry> {
    return this.entries(from, to);
  }

  /** Takes over what another one on top of it has changed. */
  adopt(other: Draft): void {
    for (const [, change] of other.#changes.range()) this.#change(change);
  }

  /** What it had is in the engine now. */
  clear(): void {
    this.#changes = new SortedMap();
    this.#bytes = 0;
  }

  #change(change: Change): void {
    const former = this.#changes.set(keyText(change.key), change);
    this.#bytes += sizeOf(change) - (former === undefined ? 0 : sizeOf(former));
  }
}

function sizeOf({ key, value }: Change): number {
  return key.byteLength + (value?.byteLength ?? 0) + CHANGE_OVERHEAD_BYTES;
}
