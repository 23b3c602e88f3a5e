/**
 * Numbers hashes as they come: the same hash has the same number, the first has 0. Millions of look-ups a second
 * are what an explorer lives on, so it is one flat table and no Map of strings.
 *
 * Open addressing; the hashes are random enough that their first word is the place to look first.
 */
import { HASH_WORDS } from './state-hash.js';

const FIRST_CAPACITY = 1 << 12;

export class StateTable {
  /** Of each place: the number there, plus one; 0 is a free place. */
  private numbers = new Int32Array(FIRST_CAPACITY);
  private keys = new Int32Array(FIRST_CAPACITY * HASH_WORDS);
  private count = 0;

  /** How many different hashes there are. */
  get size(): number {
    return this.count;
  }

  /** The number of the hash at `at`; one that was not there gets the next, which is `size` before the call. */
  number(words: Int32Array, at = 0): number {
    const place = this.placeOf(words, at);
    const found = this.numbers[place]!;
    if (found > 0) return found - 1;
    this.keys.set(words.subarray(at, at + HASH_WORDS), place * HASH_WORDS);
    this.count += 1;
    this.numbers[place] = this.count;
    if (this.count * 2 > this.numbers.length) this.grow();
    return this.count - 1;
  }

  private placeOf(words: Int32Array, at: number): number {
    const mask = this.numbers.length - 1;
    const { keys, numbers } = this;
    for (let place = words[at]! & mask; ; place = (place + 1) & mask) {
      if (numbers[place] === 0) return place;
      const key = place * HASH_WORDS;
      if (
        keys[key] === words[at] &&
        keys[key + 1] === words[at + 1] &&
        keys[key + 2] === words[at + 2] &&
        keys[key + 3] === words[at + 3]
      )
        return place;
    }
  }

  private grow(): void {
    const { numbers, keys } = this;
    this.numbers = new Int32Array(numbers.length * 2);
    this.keys = new Int32Array(keys.length * 2);
    for (let old = 0; old < numbers.length; old++) {
      if (numbers[old] === 0) continue;
      const place = this.placeOf(keys, old * HASH_WORDS);
      this.numbers[place] = numbers[old]!;
      this.keys.set(keys.subarray(old * HASH_WORDS, (old + 1) * HASH_WORDS), place * HASH_WORDS);
    }
  }
}
