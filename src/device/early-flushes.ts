/**
 * Has what is copied go to the disk while more is copied: else all of it waits for the flush at the end. No promise hangs on these
 * flushes: the one at the end is for all, and fails where one of these has.
 */
const EVERY_BYTES = 32 * 1024 * 1024;

export class EarlyFlushes {
  #waitingBytes = 0;
  #running: Promise<void> | null = null;

  /** A flush that fails is final to what is flushed: so is every later one. */
  constructor(private readonly flushed: { flush(): Promise<void> }) {}

  wrote(bytes: number): void {
    this.#waitingBytes += bytes;
    if (this.#running !== null || this.#waitingBytes < EVERY_BYTES) return;
    this.#waitingBytes = 0;
    const end = () => {
      this.#running = null;
    };
    this.#running = this.flushed.flush().then(end, end);
  }

  /** None is under way when it returns. */
  async end(): Promise<void> {
    await this.#running;
  }
}
