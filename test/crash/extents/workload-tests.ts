/** The tests that are made of each workload, on what extents stand on. */
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/crash/explorer-report.js';
import { exploreExtents } from '../../../src/lab/self/extents/run.js';
import type { Stand } from '../../../src/lab/self/extents/stand.js';
import { workloadsOn } from '../../../src/lab/self/extents/workloads.js';

const BOUNDS = { maxImages: 150, maxImagesPerCut: 8, maxStates: 6000 };

export function describeExtents(stand: Stand, leastStates: number): void {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);
  let states = 0;
  let images = 0;

  describe(`whatever a power cut leaves of files on ${stand.name} is a commit point:`, {
    timeout: 600_000,
  }, () => {
    it.each(workloadsOn(stand).map((workload) => [workload.name, workload] as const))(
      '%s',
      async (_, workload) => {
        const report = await exploreExtents(workload, { seed, stand, ...BOUNDS });
        states += report.states;
        images += report.images;
        expect(report.failures.length === 0 ? '' : describeReport(report)).toBe('');
        expect(report.cutRecoveries).toBeGreaterThan(0);
      },
    );

    it(`that was more than ${leastStates} states`, () => {
      console.log(`explored ${states} states, ${images} different, seed ${seed}`);
      expect(states).toBeGreaterThan(leastStates);
    });
  });
}
