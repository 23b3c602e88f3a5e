/**
 * A map in memory whose keys (key-text.ts) are in order, for hundreds of thousands of them: short sorted runs, one after
 * another, so that a new key moves the rest of one run and not of all.
 *
 * Invariants
 * - No run is empty, and each run's keys are below those of the next.
 */

const LONGEST_RUN = 256;

interface Run<V> {
  readonly keys: string[];
  readonly values: V[];
}

export class SortedMap<V> {
  #runs: Run<V>[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    const run = this.#runs[this.#runFor(key)];
    if (run === undefined) return undefined;
    const at = lowerBound(run.keys, key);
    return run.keys[at] === key ? run.values[at] : undefined;
  }

  /** What was there before, or undefined. */
  set(key: string, value: V): V | undefined {
    const index = this.#runFor(key);
    const run = this.#runs[index];
    if (run === undefined) {
      this.#runs.push({ keys: [key], values: [value] });
      this.#size += 1;
      return undefined;
    }
    const at = lowerBound(run.keys, key);
    if (run.keys[at] === key) {
      const before = run.values[at];
      run.values[at] = value;
      return before;
    }
    run.keys.splice(at, 0, key);
    run.values.splice(at, 0, value);
    this.#size += 1;
    if (run.keys.length > LONGEST_RUN) this.#halve(index, run);
    return undefined;
  }

  delete(key: string): void {
    const index = this.#runFor(key);
    const run = this.#runs[index];
    if (run === undefined) return;
    const at = lowerBound(run.keys, key);
    if (run.keys[at] !== key) return;
    run.keys.splice(at, 1);
    run.values.splice(at, 1);
    this.#size -= 1;
    if (run.keys.length === 0) this.#runs.splice(index, 1);
  }

  /** From `from` up to and without `to` (null: to the end). Not to be changed while it goes on. */
  *range(from = '', to: string | null = null): Generator<[string, V]> {
    for (let index = this.#runFor(from); index < this.#runs.length; index++) {
      const { keys, values } = this.#runs[index]!;
      for (let at = lowerBound(keys, from); at < keys.length; at++) {
        if (to !== null && keys[at]! >= to) return;
        yield [keys[at]!, values[at]!];
      }
    }
  }

  /** The run in which the key is or would be; the last one is asked to take what is beyond all. */
  #runFor(key: string): number {
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#runs[middle]!.keys.at(-1)! < key) low = middle + 1;
      else high = middle;
    }
    return Math.max(low, 0);
  }

  #halve(index: number, run: Run<V>): void {
    const half = run.keys.length >>> 1;
    const upper = { keys: run.keys.splice(half), values: run.values.splice(half) };
    this.#runs.splice(index + 1, 0, upper);
  }
}

/** The index of the first key that is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
