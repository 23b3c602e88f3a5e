/** Calls that have no answer yet, and how long the one has waited that waits longest. */
import type { Clock } from '../clock.js';

export class Waits {
  /** In the order in which they began. */
  readonly #begun = new Set<{ readonly atMs: number }>();

  constructor(private readonly clock: Clock) {}

  async during<T>(call: () => Promise<T>): Promise<T> {
    const wait = { atMs: this.clock.nowMs() };
    this.#begun.add(wait);
    try {
      return await call();
    } finally {
      this.#begun.delete(wait);
    }
  }

  /** ms; 0 where nothing is waited for. */
  get longestMs(): number {
    const [first] = this.#begun;
    return first === undefined ? 0 : this.clock.nowMs() - first.atMs;
  }
}
