/**
 * Power cuts of the metadata engine, explored: every cut of each workload, the states that it may leave as far as the
 * bound goes, each with either half of the range gone too, and cuts amid recoveries.
 */
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/crash/explorer-report.js';
import type { ProfileName } from '../../../src/crash/profiles.js';
import { exploreEngine } from '../../../src/lab/self/metadata/run.js';
import { ENGINE_WORKLOADS } from '../../../src/lab/self/metadata/workloads.js';

/** How many different states of each workload. */
const PROFILES: readonly [ProfileName, number][] = [
  ['sector-512', 80],
  ['sector-4096', 20],
  ['atomic-write', 20],
  ['garbage-torn', 40],
  ['kill-9', 20],
];
const BOUNDS = { maxImagesPerCut: 8, maxStates: 4000 };
const ALL_STATES = 20_000;

describe('whatever a power cut leaves of a metadata engine is made right:', { timeout: 600_000 }, () => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);
  let states = 0;
  let images = 0;

  describe.each(PROFILES)('%s', (profile, maxImages) => {
    const workloads = ENGINE_WORKLOADS.filter(({ isLong }) => isLong !== true || profile === 'sector-512');
    it.each(workloads.map((workload) => [workload.name, workload] as const))('%s', async (_, workload) => {
      const report = await exploreEngine(workload, { seed, profile, maxImages, ...BOUNDS });
      states += report.states;
      images += report.images;
      expect(report.failures.length === 0 ? '' : describeReport(report)).toBe('');
      expect(report.cutRecoveries).toBeGreaterThan(0);
    });
  });

  it(`that was more than ${ALL_STATES} states`, () => {
    console.log(`explored ${states} states, ${images} different, seed ${seed}`);
    expect(states).toBeGreaterThan(ALL_STATES);
  });
});
