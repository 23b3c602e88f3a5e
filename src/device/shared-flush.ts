/**
 * One flush for all who ask at the same time. A flush covers what was taken before it began, so a caller
 * that comes while one runs cannot share it; all who wait for it share the next.
 *
 * Whether a failure is final is for `once` to know: it is asked again by whoever waited.
 */
export class SharedFlush<T = void> {
  readonly #once: () => Promise<T>;
  #running: Promise<T> | null = null;
  #next: Promise<T> | null = null;

  constructor(once: () => Promise<T>) {
    this.#once = once;
  }

  run(): Promise<T> {
    // One that is awaited has not begun, even in the moment between two of them.
    if (this.#next !== null) return this.#next;
    if (this.#running === null) return this.#start();
    const start = () => {
      this.#next = null;
      return this.#start();
    };
    this.#next = this.#running.then(start, start);
    return this.#next;
  }

  async #start(): Promise<T> {
    const running = this.#once();
    this.#running = running;
    try {
      return await running;
    } finally {
      this.#running = null;
    }
  }
}
