/** The tests that are made of each workload. */
import { describe, expect, it } from 'vitest';
import type { Workload } from '../../../src/lab/self/raid/recording.js';
import { exploreWorkload, failuresOf } from '../../../src/lab/self/raid/run.js';

/**
 * Different states are what takes time, and most states are none: so there is a bound to both. The seed is the same
 * every time, and so are the states; the long run draws a new one.
 */
const MAX_IMAGES = 1000;
const MAX_IMAGES_PER_CUT = 60;
const MAX_STATES = 40_000;
/** At least so many has each half. */
const ALL_STATES = 50_000;

/** What its cuts must have come upon, or the test is not about what it should be. */
const SEEN = {
  healthy: ['clean', 'dirty', 'without a member: degraded', 'without a member: dirty-degraded'],
  degraded: ['degraded', 'dirty-degraded'],
};

export function describeWorkloads(workloads: readonly Workload[]): void {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);
  let states = 0;
  let images = 0;

  describe('whatever a power cut leaves of an array is made right:', { timeout: 600_000 }, () => {
    it.each(workloads.map((workload) => [workload.name, workload] as const))('%s', async (_, workload) => {
      const bounds = {
        maxImages: MAX_IMAGES,
        maxImagesPerCut: MAX_IMAGES_PER_CUT,
        maxStates: MAX_STATES,
      };
      // Of the many that a cut may leave only the first are new here; the long run goes on to the last.
      const run = await exploreWorkload(workload, { seed, ...bounds });
      states += run.report.states;
      images += run.report.images;
      expect(failuresOf(workload, run)).toEqual([]);
      expect([...run.seen]).toEqual(
        expect.arrayContaining(workload.isHealthy ? SEEN.healthy : SEEN.degraded),
      );
    });

    it(`that was more than ${ALL_STATES} states`, () => {
      console.log(`explored ${states} states, ${images} different, seed ${seed}`);
      expect(states).toBeGreaterThan(ALL_STATES);
    });
  });
}
