/**
 * The updates that a secondary has not got durably yet: for each block a list of sequence numbers (coordinated dirty block
 * tracking, paragraphs 59 and 60), because one bit cannot tell which of several updates was acknowledged.
 *
 * All lists are one hash table, by sequence number: an update is a range of blocks, and is in the list of each of them. How
 * long the list of a block is, is counted beside it.
 */
import type { BlockRange } from '../blocks.js';
import { BlockCounts } from './block-counts.js';

export interface Update {
  /** Rises with the order of writes; never given twice in a process. */
  readonly sequence: number;
  readonly range: BlockRange;
}

export class UpdateLists {
  /** In the order of insertion, which is that of sequence numbers. */
  readonly #updates = new Map<number, BlockRange>();
  readonly #lengths = new BlockCounts();

  /** Updates in all lists. */
  get size(): number {
    return this.#updates.size;
  }

  /** The oldest update that is in any list, or null. */
  get oldest(): number | null {
    for (const sequence of this.#updates.keys()) return sequence;
    return null;
  }

  insert({ sequence, range }: Update): void {
    if (this.#updates.has(sequence)) throw new Error(`update ${sequence} was inserted before`);
    this.#updates.set(sequence, range);
    this.#lengths.add(range);
  }

  /** Of its blocks, those whose list is empty now. An acknowledgement that comes twice, or too late, deletes nothing. */
  delete(sequence: number): BlockRange[] {
    const range = this.#updates.get(sequence);
    if (range === undefined) return [];
    this.#updates.delete(sequence);
    return this.#lengths.remove(range);
  }

  /** Of the range, the blocks whose list is empty. */
  emptyWithin(range: BlockRange): BlockRange[] {
    return this.#lengths.zeroWithin(range);
  }

  /** The sequence numbers in a block's list, ascending. Looks at all updates: for tests and for people. */
  listOf(block: number): number[] {
    return [...this.#updates]
      .filter(([, { from, count }]) => block >= from && block < from + count)
      .map(([sequence]) => sequence);
  }

  clear(): void {
    this.#updates.clear();
    this.#lengths.clear();
  }
}
