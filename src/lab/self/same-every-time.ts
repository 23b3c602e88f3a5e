/**
 * Takes chance and the clock out of what is recorded and recovered: stamps and UUIDs come from a sequence, and the
 * time stands still. So the same workload makes the same trace, and the same state is recovered to the same state
 * (which the explorer then knows again), on any machine.
 *
 * A timer for a time that never comes is not kept either: a state that is looked at is dropped, not closed, and its
 * timers would hold on to it (a million of states have been seen to take gigabytes).
 */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { SeededRandom } from '../../crash/seeded-random.js';

/** Seconds since 1970. */
export const STANDING_TIME = 1_700_000_000;

const realRandomBytes = crypto.randomBytes;
const realNow = Date.now;
const { setTimeout: realSetTimeout, setInterval: realSetInterval } = globalThis;
/** No exploration waits as long for anything. */
const NEVER_COMES_MS = 60 * 60 * 1000;
const realStackTraceLimit = Error.stackTraceLimit;

let sequence = new SeededRandom(1);

/** While `body` runs. */
export async function sameEveryTime<R>(body: () => Promise<R>): Promise<R> {
  takeChanceOut();
  try {
    return await body();
  } finally {
    chanceAgain();
  }
}

function takeChanceOut(): void {
  // Refusals are made by the thousand, and nobody reads where they come from.
  Error.stackTraceLimit = 0;
  crypto.randomBytes = ((size: number) => Buffer.from(sequence.bytes(size))) as typeof crypto.randomBytes;
  Date.now = () => STANDING_TIME * 1000;
  globalThis.setTimeout = unlessItNeverComes(realSetTimeout);
  globalThis.setInterval = unlessItNeverComes(realSetInterval);
  syncBuiltinESMExports();
}

/** What comes next does not depend on what came before. */
export function restartChance(seed: number): void {
  sequence = new SeededRandom(seed);
}

function chanceAgain(): void {
  Error.stackTraceLimit = realStackTraceLimit;
  crypto.randomBytes = realRandomBytes;
  Date.now = realNow;
  globalThis.setTimeout = realSetTimeout;
  globalThis.setInterval = realSetInterval;
  syncBuiltinESMExports();
}

/** It is armed and cleared at once: whoever has it may still unref or clear it. */
function unlessItNeverComes<T extends typeof setTimeout | typeof setInterval>(real: T): T {
  const arm = (callback: () => void, ms?: number, ...args: []) => {
    const timer = real(callback, ms, ...args);
    if ((ms ?? 0) >= NEVER_COMES_MS) clearTimeout(timer);
    return timer;
  };
  return arm as T;
}
