/**
 * Used ranges as they are found, from the lowest on, and never more than memory is good for: where there are too many, free
 * gaps between them count as used from the smallest on. So what is said to be used only grows.
 */

const MOST_RUNS = 1024 * 1024;
const FIRST_GAP_BYTES = 16 * 1024;

export class RunList {
  #starts: number[] = [];
  #ends: number[] = [];
  /** Gaps below this are closed. */
  #gapBytes = 1;

  constructor(private readonly mostRuns = MOST_RUNS) {}

  /** No run begins before the one that was added last. */
  add(start: number, end: number): void {
    if (start >= end) return;
    const last = this.#ends.length - 1;
    if (last >= 0) {
      if (start < this.#starts[last]!)
        throw new RangeError(`a run at ${start} comes after ${this.#starts[last]}`);
      if (start - this.#ends[last]! < this.#gapBytes) {
        this.#ends[last] = Math.max(this.#ends[last]!, end);
        return;
      }
    }
    this.#starts.push(start);
    this.#ends.push(end);
    if (this.#starts.length > this.mostRuns) this.#closeGaps();
  }

  *runs(): Generator<{ start: number; end: number }> {
    for (let i = 0; i < this.#starts.length; i++) yield { start: this.#starts[i]!, end: this.#ends[i]! };
  }

  #closeGaps(): void {
    const starts = this.#starts;
    const ends = this.#ends;
    while (this.#starts.length > this.mostRuns / 2) {
      this.#gapBytes = Math.max(FIRST_GAP_BYTES, this.#gapBytes * 2);
      this.#starts = [];
      this.#ends = [];
      for (let i = 0; i < starts.length; i++) this.add(starts[i]!, ends[i]!);
    }
  }
}
