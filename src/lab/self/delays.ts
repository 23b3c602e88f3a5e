/**
 * Completions out of order, without a clock: a call waits for a random number of turns of the event loop, so
 * the order depends on the seed and not on the machine.
 */
import { setImmediate } from 'node:timers/promises';
import type { SeededRandom } from '../../crash/seeded-random.js';

export interface Delay {
  readonly random: SeededRandom;
  /** Turns of the event loop at most, before the call and again after it. */
  readonly maxTurns: number;
}

export async function delayed<T>(delay: Delay | undefined, body: () => Promise<T>): Promise<T> {
  await turns(delay);
  try {
    return await body();
  } finally {
    await turns(delay);
  }
}

export async function turns(delay: Delay | undefined): Promise<void> {
  if (delay === undefined) return;
  for (let left = delay.random.below(delay.maxTurns + 1); left > 0; left--) await setImmediate();
}
