/**
 * Reads of devices that are under way. An extent that has lost its place is used again when the reads that had begun by
 * then have ended: those that begin later do not find it any more.
 */
export class ReadsInFlight {
  readonly #reads = new Set<Promise<unknown>>();

  /** `read` plans and begins in the turn in which it is called. */
  async run<T>(read: () => Promise<T>): Promise<T> {
    const running = read();
    this.#reads.add(running);
    try {
      return await running;
    } finally {
      this.#reads.delete(running);
    }
  }

  async ended(): Promise<void> {
    await Promise.allSettled([...this.#reads]);
  }
}
