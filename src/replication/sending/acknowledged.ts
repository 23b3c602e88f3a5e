/**
 * Updates that the secondary has durably (coordinated dirty block tracking, steps 430 to 442), and that wait for the primary:
 * what it has not flushed may be gone after a power cut, and the secondary has it (decision 12).
 *
 * Invariants
 * - A block is RESET when every update of it is durable on both sides, not when one is: an update that was acknowledged later
 *   may be behind a later flush of the primary, and one with fua is durable before others of the block are.
 * - Once for each update, in the order in which they were sent.
 */
import type { BlockRange } from '../blocks.js';
import type { BlockTracker } from '../contract.js';
import { BlockCounts } from '../tracking/block-counts.js';

export interface AcknowledgedUpdate {
  readonly sequence: number;
  readonly range: BlockRange;
  /** See PrimaryFlushes. */
  readonly stamp: number;
}

export class Acknowledged {
  #updates: AcknowledgedUpdate[] = [];
  /** Of each block, the updates that wait. */
  readonly #waiting = new BlockCounts();

  constructor(
    private readonly tracker: BlockTracker,
    /** Whether what was written to these blocks of the primary with this stamp is durable there, and they may be clean. */
    private readonly isReady: (stamp: number, range: BlockRange) => boolean,
  ) {}

  /** Updates that wait for the primary. */
  get size(): number {
    return this.#updates.length;
  }

  /** The secondary has them (step 432). */
  add(updates: readonly AcknowledgedUpdate[]): void {
    for (const update of updates) {
      this.tracker.remove(update.sequence);
      this.#waiting.add(update.range);
      this.#updates.push(update);
    }
  }

  /** RESET of what both sides have (steps 440 and 442). To be called when something was added, and when the primary was flushed. */
  settle(): void {
    const [ready, waiting]: [AcknowledgedUpdate[], AcknowledgedUpdate[]] = [[], []];
    for (const update of this.#updates)
      (this.isReady(update.stamp, update.range) ? ready : waiting).push(update);
    if (ready.length === 0) return;
    this.#updates = waiting;
    for (const { range } of ready) this.#waiting.remove(range);
    this.tracker.reset(ready.flatMap(({ range }) => this.#waiting.zeroWithin(range)));
  }
}
