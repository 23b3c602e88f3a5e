/**
 * Which transactions are active, and which of those that are done are not said to be on disk. In memory alone.
 *
 * Invariants
 * - A transaction is active until each of those whose ranges it lists is done with it.
 * - What is done stays unsaid until a durable sector has a DONE for it, or a `start` beyond it.
 */
import type { BlockRange } from '../blocks.js';

export class ActiveTransactions {
  /** How many have ranges in it and are not done. */
  readonly #holds = new Map<number, number>();
  readonly #unsaid = new Set<number>();
  /** None below it is active; it only rises. */
  #oldest = 1;

  get count(): number {
    return this.#holds.size;
  }

  get hasUnsaid(): boolean {
    return this.#unsaid.size > 0;
  }

  hold(number: number): void {
    this.#holds.set(number, (this.#holds.get(number) ?? 0) + 1);
  }

  release(number: number): void {
    const holds = this.#holds.get(number);
    if (holds === undefined) throw new Error(`transaction ${number} is not active`);
    if (holds > 1) {
      this.#holds.set(number, holds - 1);
      return;
    }
    this.#holds.delete(number);
    this.#unsaid.add(number);
  }

  /** The oldest that is active, or `end`, which is above all of them. */
  startOfLog(end: number): number {
    while (this.#oldest < end && !this.#holds.has(this.#oldest)) this.#oldest += 1;
    return this.#oldest;
  }

  /** Those that are done, unsaid, and not below `start`, which says it of them by itself. */
  unsaidFrom(start: number): BlockRange[] {
    const sorted = [...this.#unsaid].filter((number) => number >= start).sort((a, b) => a - b);
    const runs: { from: number; count: number }[] = [];
    for (const number of sorted) {
      const last = runs.at(-1);
      if (last !== undefined && last.from + last.count === number) last.count += 1;
      else runs.push({ from: number, count: 1 });
    }
    return runs;
  }

  /** A durable sector has this start, and a DONE for each of `done`. */
  said(start: number, done: Iterable<BlockRange>): void {
    for (const number of this.#unsaid) if (number < start) this.#unsaid.delete(number);
    for (const { from, count } of done) {
      for (let number = from; number < from + count; number++) this.#unsaid.delete(number);
    }
  }
}
