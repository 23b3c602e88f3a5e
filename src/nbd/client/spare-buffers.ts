/**
 * Memory that was used for kept data and is used again: fresh memory costs more to touch for the first time than a
 * write costs to be sent. Buffers come in powers of two, so that those of one use serve the next.
 */

const SMALLEST_BYTES = 512;

/** Bytes that so much data takes. */
export function capacityFor(bytes: number): number {
  return bytes === 0 ? 0 : Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(bytes)));
}

export class SpareBuffers {
  readonly #byCapacity = new Map<number, Buffer[]>();
  #bytes = 0;

  /** Holds whatever was in it before. */
  take(capacity: number): Buffer {
    const spare = this.#byCapacity.get(capacity)?.pop();
    if (spare === undefined) return Buffer.allocUnsafeSlow(capacity);
    this.#bytes -= capacity;
    return spare;
  }

  /** For later, unless the spare ones would take more than `mostBytes`. */
  give(buffer: Buffer, mostBytes: number): void {
    const capacity = buffer.byteLength;
    if (this.#bytes + capacity > mostBytes) return;
    this.#bytes += capacity;
    const spares = this.#byCapacity.get(capacity);
    if (spares === undefined) this.#byCapacity.set(capacity, [buffer]);
    else spares.push(buffer);
  }

  /** Leaves spare ones to the collector until they take no more than `mostBytes`. */
  shrinkTo(mostBytes: number): void {
    for (const [capacity, spares] of this.#byCapacity) {
      while (this.#bytes > mostBytes && spares.pop() !== undefined) this.#bytes -= capacity;
    }
  }
}
