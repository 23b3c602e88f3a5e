/**
 * Writes that stay on this thread: into the page cache a small write is a copy, and the turn through the thread pool
 * costs ten times as much.
 *
 * Invariants
 * - Only writes that wait for no disk by themselves: never on a descriptor with O_DSYNC.
 * - Nothing promises that such a write does not wait: the kernel holds who dirties pages faster than its disk takes them, and
 *   has no word for "only if at once" that ext4 and its like know for writes. So each is timed. One that took long sends
 *   all others to the thread pool for a while, and for longer each time that it happens again: the most that this thread
 *   waits is one such write in seconds.
 * - Between two turns of the event loop only so much is written.
 */
import fs from 'node:fs';
import { byteLength } from './buffers.js';
import { TurnBudget } from './turn-budget.js';

/** More is copied by the thread pool, beside what else this thread has to do. */
const MAX_CALL_BYTES = 64 * 1024;
const MAX_CALL_BUFFERS = 8;
/**
 * A copy takes some microseconds; the kernel holds who has to wait for ten milliseconds and more. What lies between is
 * mostly another process that had its turn: on a busy machine two milliseconds sent half of all writes to the pool.
 */
const SLOW_MS = 8;
const FIRST_REST_MS = 250;
const LONGEST_REST_MS = 16_000;
/** After so many that were prompt, one that is not is the first again. */
const PROMPT_AGAIN = 1024;

export interface PromptWritesOptions {
  /** As fs.writevSync. */
  readonly writeNow?: (fd: number, buffers: readonly Uint8Array[], position: number) => number;
  readonly nowMs?: () => number;
}

export class PromptWrites {
  private readonly budget = new TurnBudget();
  private readonly writeNow: NonNullable<PromptWritesOptions['writeNow']>;
  private readonly nowMs: () => number;
  private restsUntilMs = Number.NEGATIVE_INFINITY;
  private restMs = FIRST_REST_MS;
  private prompt = 0;

  constructor({ writeNow = systemWrite, nowMs = () => performance.now() }: PromptWritesOptions = {}) {
    this.writeNow = writeNow;
    this.nowMs = nowMs;
  }

  /** How many bytes were written; null: ask the thread pool. Throws what the system says. */
  write(fd: number, buffers: readonly Uint8Array[], position: number): number | null {
    if (buffers.length > MAX_CALL_BUFFERS) return null;
    const length = byteLength(buffers);
    if (length > MAX_CALL_BYTES) return null;
    const startMs = this.nowMs();
    if (startMs < this.restsUntilMs || !this.budget.take(length)) return null;
    try {
      return this.writeNow(fd, buffers, position);
    } finally {
      this.judge(startMs, this.nowMs());
    }
  }

  private judge(startMs: number, endMs: number): void {
    if (endMs - startMs <= SLOW_MS) {
      this.prompt += 1;
      if (this.prompt === PROMPT_AGAIN) this.restMs = FIRST_REST_MS;
      return;
    }
    this.prompt = 0;
    this.restsUntilMs = endMs + this.restMs;
    this.restMs = Math.min(2 * this.restMs, LONGEST_REST_MS);
  }
}

function systemWrite(fd: number, buffers: readonly Uint8Array[], position: number): number {
  const [only] = buffers;
  if (buffers.length === 1 && only !== undefined) return fs.writeSync(fd, only, 0, only.byteLength, position);
  return fs.writevSync(fd, buffers as Uint8Array[], position);
}
