/**
 * Takes chance and the clock out of what is recorded and recovered: stamps and UUIDs come from a sequence, and the
 * time stands still. So the same workload makes the same trace, and the same state is recovered to the same state
 * (which the explorer then knows again), on any machine.
 */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { SeededRandom } from '../../../src/crash/seeded-random.js';

/** Seconds since 1970. */
export const STANDING_TIME = 1_700_000_000;

const realRandomBytes = crypto.randomBytes;
const realNow = Date.now;
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
  syncBuiltinESMExports();
}
