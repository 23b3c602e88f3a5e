/**
 * How long a lost connection is looked for: by tries, and by time. An outage begins when the connection is lost and
 * ends when a request has been answered: a server that takes connections and answers nothing is none.
 */
import { setTimeout as sleep } from 'node:timers/promises';

export interface ReconnectLimits {
  /** Tries in a row, with nothing answered between them. 0: a lost connection stays lost. */
  readonly tries: number;
  /** From the loss on. */
  readonly withinMs: number;
  /** Before the second try; doubles from one to the next, up to LONGEST_PAUSE_MS. */
  readonly pauseMs: number;
}

export const DEFAULT_RECONNECT: ReconnectLimits = { tries: 30, withinMs: 60_000, pauseMs: 50 };

const LONGEST_PAUSE_MS = 2000;

export class Outage {
  readonly #limits: ReconnectLimits;
  readonly #since = performance.now();
  #tried = 0;

  constructor(limits: ReconnectLimits) {
    this.#limits = limits;
  }

  get tried(): number {
    return this.#tried;
  }

  /** What is left of the time. */
  get leftMs(): number {
    return Math.max(0, this.#limits.withinMs - (performance.now() - this.#since));
  }

  get isOver(): boolean {
    return this.#tried >= this.#limits.tries || this.leftMs === 0;
  }

  /** Waits until it is time for the next try, and counts it. */
  async nextTry(signal: AbortSignal): Promise<void> {
    const pauseMs = this.#tried === 0 ? 0 : this.#limits.pauseMs * 2 ** (this.#tried - 1);
    this.#tried += 1;
    if (pauseMs > 0) await sleep(Math.min(pauseMs, LONGEST_PAUSE_MS, this.leftMs), undefined, { signal });
  }
}
