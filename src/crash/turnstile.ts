/**
 * Lets calls end in the order in which they began, one in a turn of the event loop: whoever waited for one has made
 * its next calls before the next one ends. So the same work makes the same calls in the same order, however
 * the disks and the threads below happen to be scheduled, and a power cut at one of them can be had again.
 */

interface Waiting {
  /** Set once the call has ended below. */
  leave: (() => void) | null;
}

export class Turnstile {
  readonly #queue: Waiting[] = [];
  #isTurning = false;

  pass<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { leave: null };
      this.#queue.push(waiting);
      const ended = (leave: () => void): void => {
        waiting.leave = leave;
        this.#turn();
      };
      call().then(
        (value) => ended(() => resolve(value)),
        (error: unknown) => ended(() => reject(error)),
      );
    });
  }

  #turn(): void {
    if (this.#isTurning || !this.#queue[0]?.leave) return;
    this.#isTurning = true;
    setImmediate(() => {
      this.#isTurning = false;
      this.#queue.shift()?.leave?.();
      this.#turn();
    });
  }
}
