/**
 * Power cuts of a secondary, explored: every cut of each workload, the states that it may leave as far as the bound goes, and
 * cuts amid the recovery and amid the promote of each.
 */
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/crash/explorer-report.js';
import type { ProfileName } from '../../../src/crash/profiles.js';
import { exploreSecondary } from '../../../src/lab/self/replication/secondary-run.js';
import { SECONDARY_WORKLOADS } from '../../../src/lab/self/replication/secondary-workloads.js';

/** How many different states of each workload. */
const PROFILES: readonly [ProfileName, number][] = [
  ['sector-512', 150],
  ['sector-4096', 40],
  ['atomic-write', 40],
  ['garbage-torn', 80],
  ['kill-9', 40],
];
const BOUNDS = { maxImagesPerCut: 6, maxStates: 6000 };

describe('whatever a power cut leaves of a secondary is the end of an epoch:', { timeout: 600_000 }, () => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);
  describe.each(PROFILES)('%s', (profile, maxImages) => {
    describe.each(['opening', 'promote'] as const)('%s', (looksAt) => {
      it.each(SECONDARY_WORKLOADS.map((each) => [each.name, each] as const))('%s', async (_, workload) => {
        const report = await exploreSecondary(workload, { seed, profile, maxImages, looksAt, ...BOUNDS });
        expect(report.failures.length === 0 ? '' : describeReport(report)).toBe('');
        expect(report.cutRecoveries).toBeGreaterThan(0);
      });
    });
  });
});
