/**
 * Random numbers that a test can have again: from HOLDFAST_SEED where it is set, and always printed with a
 * failure through `withSeed`.
 */

import { SeededRandom } from '../../../src/crash/seeded-random.js';

export { SeededRandom };

/** HOLDFAST_SEED, or a new seed each run. */
export function chosenSeed(): number {
  const given = process.env.HOLDFAST_SEED;
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given) >>> 0;
}

/** Runs a random test; a failure says how to have it again. */
export async function withSeed(body: (random: SeededRandom) => Promise<void>): Promise<void> {
  const seed = chosenSeed();
  try {
    await body(new SeededRandom(seed));
  } catch (cause) {
    throw new Error(
      `failed with HOLDFAST_SEED=${seed}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        cause,
      },
    );
  }
}

export function shuffled<T>(all: readonly T[], random: SeededRandom): T[] {
  return all
    .map((each) => ({ each, place: random.next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ each }) => each);
}
