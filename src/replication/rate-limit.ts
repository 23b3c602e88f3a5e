/** How many bytes a second are copied at most: who copies pays for what it has taken before it takes more. */
import type { Clock } from './clock.js';

export class RateLimit {
  #dueMs: number;

  constructor(
    /** null: as fast as it goes. */
    private readonly bytesPerSecond: number | null,
    private readonly clock: Clock,
  ) {
    this.#dueMs = clock.nowMs();
  }

  /** What was copied so far is paid for. */
  get isReady(): boolean {
    return this.bytesPerSecond === null || this.#dueMs <= this.clock.nowMs();
  }

  /** Ends when the next may be copied. */
  async ready(signal: AbortSignal): Promise<void> {
    if (!this.isReady) await this.clock.wait(this.#dueMs - this.clock.nowMs(), signal);
  }

  /** So many bytes are being copied. */
  charge(bytes: number): void {
    if (this.bytesPerSecond === null) return;
    this.#dueMs = Math.max(this.#dueMs, this.clock.nowMs()) + (bytes * 1000) / this.bytesPerSecond;
  }
}
