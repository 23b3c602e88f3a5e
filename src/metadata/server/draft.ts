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
  /** What was read of the base, where that does not change meanwhile; a message asks for the same more than once. */
  readonly #seen: Map<string, Uint8Array | null> | null;
  #changes = new SortedMap<Change>();
  #bytes = 0;

  /** `remembers`: nobody changes the base before `clear`, or the draft's end. */
  constructor(base: Readable, { remembers = false } = {}) {
    this.#base = base;
    this.#seen = remembers ? new Map() : null;
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
    const text = keyText(key);
    const change = this.#changes.get(text);
    if (change !== undefined) return change.value;
    if (this.#seen === null) return this.#base.get(key);
    const seen = this.#seen.get(text);
    if (seen !== undefined) return seen;
    const value = await this.#base.get(key);
    this.#seen.set(text, value);
    return value;
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
    this.#seen?.clear();
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
