/**
 * Power cuts of a volume whose moments are kept, explored: every cut of each workload, the states that it may leave as far as the
 * bound goes, and cuts amid the opening of each and amid the life after it.
 */
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/crash/explorer-report.js';
import type { ProfileName } from '../../../src/crash/profiles.js';
import { exploreSnapshots } from '../../../src/lab/self/snapshot/run.js';
import { SNAPSHOTS_WORKLOADS } from '../../../src/lab/self/snapshot/workloads.js';

/** How many different states of each workload. */
const PROFILES: readonly [ProfileName, number][] = [
  ['sector-512', 90],
  ['sector-4096', 25],
  ['atomic-write', 25],
  ['garbage-torn', 40],
  ['kill-9', 25],
];
const BOUNDS = { maxImagesPerCut: 6, maxStates: 6000 };

describe('whatever a power cut leaves, what is good shows its moment:', { timeout: 600_000 }, () => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);
  describe.each(PROFILES)('%s', (profile, maxImages) => {
    it.each(SNAPSHOTS_WORKLOADS.map((each) => [each.name, each] as const))('%s', async (_, workload) => {
      const report = await exploreSnapshots(workload, { seed, profile, maxImages, ...BOUNDS });
      expect(report.failures.length === 0 ? '' : describeReport(report)).toBe('');
      expect(report.cutRecoveries).toBeGreaterThan(0);
    });
  });
});
