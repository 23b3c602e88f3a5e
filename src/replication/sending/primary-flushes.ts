/**
 * Which of what was written to the primary is durable there. A flush makes durable what was taken before it began: each write
 * has as its stamp how many flushes had begun when it ended, and any later one covers it.
 */
import type { BlockDevice } from '../../device/contract.js';

/** Of what was written with fua. */
export const DURABLE_AT_ONCE = -1;

export class PrimaryFlushes {
  #begun = 0;
  #ended = 0;

  constructor(
    private readonly lower: BlockDevice,
    /** What waited for it may be reset. */
    private readonly onFlushed: () => void,
  ) {}

  get stamp(): number {
    return this.#begun;
  }

  isDurable(stamp: number): boolean {
    return stamp < this.#ended;
  }

  async flush(): Promise<void> {
    this.#begun += 1;
    const number = this.#begun;
    await this.lower.flush();
    this.#ended = Math.max(this.#ended, number);
    this.onFlushed();
  }
}
