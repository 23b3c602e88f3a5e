/**
 * How long a resync still takes: as what is left has become less in the last seconds. Writes that go on are in it, since they
 * make what is left more; where it does not become less, there is nothing to be told.
 */
import type { Clock } from '../clock.js';

const OVER_MS = 10_000;
const EVERY_MS = 200;
/** Of less nobody can tell. */
const LEAST_MS = 1000;

interface Look {
  readonly atMs: number;
  readonly left: number;
}

export class Estimate {
  readonly #looks: Look[] = [];

  constructor(private readonly clock: Clock) {}

  /** So much is left now; to be called as often as that changes. */
  note(left: number): void {
    const atMs = this.clock.nowMs();
    const last = this.#looks.at(-1);
    if (last !== undefined && atMs - last.atMs < EVERY_MS) return;
    this.#looks.push({ atMs, left });
    while (atMs - this.#looks[0]!.atMs > OVER_MS) this.#looks.shift();
  }

  /** null: it cannot be told. */
  secondsLeft(left: number): number | null {
    if (left === 0) return 0;
    const [first] = this.#looks;
    if (first === undefined) return null;
    const sinceMs = this.clock.nowMs() - first.atMs;
    const less = first.left - left;
    if (sinceMs < LEAST_MS || less <= 0) return null;
    return (left / less) * (sinceMs / 1000);
  }
}
