/** Time that stands still until it is turned on by hand, so that what is recorded is the same every time. */
import type { Clock } from '../../../replication/clock.js';

export class HandClock implements Clock {
  #ms = 0;
  #waiting: { readonly atMs: number; readonly end: () => void }[] = [];

  nowMs(): number {
    return this.#ms;
  }

  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      this.#waiting.push({ atMs: this.#ms + ms, end: resolve });
      signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  advance(ms: number): void {
    this.#ms += ms;
    const due = this.#waiting.filter(({ atMs }) => atMs <= this.#ms);
    this.#waiting = this.#waiting.filter(({ atMs }) => atMs > this.#ms);
    for (const { end } of due) end();
  }
}
