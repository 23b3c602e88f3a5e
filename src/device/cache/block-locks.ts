/**
 * Runs of blocks that one operation has to itself (zeroing and trimming below the cache): meanwhile nobody
 * reads them in, writes them back, or writes to them.
 */
import { gate } from './cache-block.js';

interface Lock {
  readonly first: number;
  /** Excluded. */
  readonly end: number;
  readonly released: Promise<void>;
}

export class BlockLocks {
  readonly #locks = new Set<Lock>();

  /** Ends when a lock on this block is released; null when there is none. */
  obstacle(index: number): Promise<void> | null {
    // Nearly always there are none at all.
    for (const lock of this.#locks) if (index >= lock.first && index < lock.end) return lock.released;
    return null;
  }

  /** Locks the blocks [first, end) once nobody else has them; the answer releases them. */
  async take(first: number, end: number): Promise<() => void> {
    for (let other = this.#overlapping(first, end); other !== null; other = this.#overlapping(first, end)) {
      await other.released;
    }
    const { opened, open } = gate();
    const lock = { first, end, released: opened };
    this.#locks.add(lock);
    return () => {
      this.#locks.delete(lock);
      open();
    };
  }

  #overlapping(first: number, end: number): Lock | null {
    for (const lock of this.#locks) if (first < lock.end && lock.first < end) return lock;
    return null;
  }
}
