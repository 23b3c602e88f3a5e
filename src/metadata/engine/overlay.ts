/**
 * What was committed and is not in the tree yet: the changes since the last checkpoint, and while one runs those that it
 * puts into the tree. Every read looks here first.
 */
import { keyBytes } from './key-text.js';
import { SortedMap } from './sorted-map.js';
import type { KeyChange } from './tree-merge.js';

/** What an entry takes in memory beside key and value, about. */
const ENTRY_MEMORY_BYTES = 200;

/** How much of it there is: an upper bound, a key that is written twice counts twice. */
export interface Amount {
  readonly puts: number;
  /** Of keys and values, in bytes. */
  readonly bytes: number;
}

class Layer {
  readonly changes = new SortedMap<Uint8Array | null>();
  puts = 0;
  bytes = 0;

  get memoryBytes(): number {
    return this.bytes + this.changes.size * ENTRY_MEMORY_BYTES;
  }

  set(key: string, value: Uint8Array | null): void {
    this.changes.set(key, value);
    this.bytes += key.length + (value?.byteLength ?? 0);
    if (value !== null) this.puts += 1;
  }
}

export class Overlay {
  #active = new Layer();
  #frozen: Layer | null = null;

  get isEmpty(): boolean {
    return this.#active.changes.size === 0;
  }

  /** Of what the next checkpoint takes. */
  get memoryBytes(): number {
    return this.#active.memoryBytes;
  }

  get amount(): Amount {
    return {
      puts: this.#active.puts + (this.#frozen?.puts ?? 0),
      bytes: this.#active.bytes + (this.#frozen?.bytes ?? 0),
    };
  }

  /** `value` is taken over. */
  set(key: string, value: Uint8Array | null): void {
    this.#active.set(key, value);
  }

  /** Not a copy; null: it was taken out; undefined: the tree knows. */
  get(key: string): Uint8Array | null | undefined {
    const found = this.#active.changes.get(key);
    return found !== undefined ? found : this.#frozen?.changes.get(key);
  }

  /** What there is now, the newest first: later checkpoints do not take anything out of these. */
  layers(): SortedMap<Uint8Array | null>[] {
    return [this.#active, this.#frozen].flatMap((layer) => layer?.changes ?? []);
  }

  /** All that there is, in the order of keys. What comes from now on is not of it. */
  freeze(): KeyChange[] {
    if (this.#frozen !== null) throw new Error('a checkpoint runs already');
    this.#frozen = this.#active;
    this.#active = new Layer();
    return [...this.#frozen.changes.range()];
  }

  /** What was frozen is in the tree. */
  drop(): void {
    this.#frozen = null;
  }
}

/** Several of them as one, in the order of keys: of a key the first that has it counts. */
export function* mergeLayers(layers: readonly Iterator<KeyChange>[]): Generator<KeyChange> {
  const heads = layers.map((layer) => layer.next());
  for (;;) {
    let lowest: KeyChange | null = null;
    for (const head of heads) {
      if (head.done !== true && (lowest === null || head.value[0] < lowest[0])) lowest = head.value;
    }
    if (lowest === null) return;
    for (const [index, head] of heads.entries()) {
      if (head.done !== true && head.value[0] === lowest[0]) heads[index] = layers[index]!.next();
    }
    yield lowest;
  }
}

/** An entry as callers get it. */
export function entryOf([key, value]: readonly [string, Uint8Array]): { key: Uint8Array; value: Uint8Array } {
  return { key: keyBytes(key), value: value.slice() };
}
