/**
 * Power cuts of a primary and of its secondary, explored on all devices of both: of either, with all that the other one had,
 * and of both at once; and cuts amid what follows, an opening and a resync. What differs is named, what is promised is there.
 */
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/crash/explorer-report.js';
import { explorePair } from '../../../src/lab/self/replication/pair-run.js';
import { PAIR_WORKLOADS } from '../../../src/lab/self/replication/pair-workloads.js';

/** Minutes of it are test/crash/replication/. */
const BOUNDS = { maxImages: 16, maxImagesPerCut: 2, maxStates: 1500 };

describe.each(['primary', 'second', 'all'] as const)('whatever a power cut leaves of %s:', (side) => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);

  it.each(PAIR_WORKLOADS.map((each) => [each.name, each] as const))('%s', async (_, workload) => {
    const report = await explorePair(workload, { seed, side, ...BOUNDS });
    expect(report.failures.length === 0 ? '' : describeReport(report)).toBe('');
    expect(report.cutRecoveries).toBeGreaterThan(0);
  });
});
