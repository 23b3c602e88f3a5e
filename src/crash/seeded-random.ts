/**
 * Random numbers that can be had again: the same seed gives the same sequence on any machine. Whatever a power cut
 * leaves by chance is drawn from here, so that a seed is all there is to tell.
 */

/** mulberry32: 32 bits of state, good enough to choose cases with. */
export class SeededRandom {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number in [0, end). */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  /** A whole number in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const words = new Uint32Array(bytes.buffer, 0, length >>> 2);
    for (let i = 0; i < words.length; i++) words[i] = this.below(2 ** 32);
    for (let i = words.length * 4; i < length; i++) bytes[i] = this.below(256);
    return bytes;
  }

  /** An independent sequence that depends on this one's seed and place. */
  fork(): SeededRandom {
    return new SeededRandom(this.below(2 ** 32));
  }
}
