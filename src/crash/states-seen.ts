/**
 * The different states that have been come upon, and what was read in each, once.
 *
 * Invariant: what was read in a state is owed to every cut that leads there. That a state was checked says nothing of
 * the next cut: with the flush before an acknowledgement gone, the bad state after it equals a good one before it.
 */

import { HASH_WORDS, xorHash } from './state-hash.js';
import { StateTable } from './state-table.js';
import type { KeptWrites } from './states-kept.js';

/** Spreads the number of the device that is missing over a word. */
const MISSING_FACTOR = 0x9e3779b1;

const key = new Int32Array(HASH_WORDS);

export class SeenStates<Reading> {
  private readonly table = new StateTable();
  private readonly readings: (Reading | undefined)[] = [];
  /** For which cut each was checked last. */
  private readonly checkedFor: number[] = [];

  get size(): number {
    return this.table.size;
  }

  /** The state's number; a new one's is `size` before the call. Without the missing device, its content is nothing. */
  number(state: KeptWrites, missing: number | null): number {
    const { words } = state;
    const total = words.length - HASH_WORDS;
    for (let word = 0; word < HASH_WORDS; word++) key[word] = words[total + word]!;
    if (missing !== null) {
      xorHash(key, 0, words, missing * HASH_WORDS);
      key[0]! ^= Math.imul(missing + 1, MISSING_FACTOR);
    }
    return this.table.number(key);
  }

  reading(number: number): Reading | undefined {
    return this.readings[number];
  }

  read(number: number, reading: Reading): void {
    this.readings[number] = reading;
  }

  /** Whether this cut has not had the state checked yet; from then on it has. */
  owesCheck(number: number, cut: number): boolean {
    if (this.checkedFor[number] === cut) return false;
    this.checkedFor[number] = cut;
    return true;
  }
}
