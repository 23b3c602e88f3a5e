/**
 * As power-cut.test.ts, of a primary that has more than one secondary, or whose secondary has one itself: of all machines at once,
 * and of one of them, which is another from workload to workload. All of each are test/crash/replication/several.long.ts.
 */
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/crash/explorer-report.js';
import { CHAIN_WORKLOADS } from '../../../src/lab/self/replication/chain-workloads.js';
import { JOINING_WORKLOADS } from '../../../src/lab/self/replication/joining-workloads.js';
import { explorePair } from '../../../src/lab/self/replication/pair-run.js';
import { TWO_WORKLOADS } from '../../../src/lab/self/replication/two-workloads.js';

const BOUNDS = { maxImages: 8, maxImagesPerCut: 2, maxStates: 800 };
const MACHINES = ['primary', 'second', 'third'] as const;

const EXPLORED = [...TWO_WORKLOADS, ...JOINING_WORKLOADS, ...CHAIN_WORKLOADS].flatMap((workload, at) =>
  (['all', MACHINES[at % MACHINES.length]!] as const).map((side) => [side, workload.name, workload] as const),
);

describe('whatever a power cut leaves', () => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);

  it.each(EXPLORED)('of %s: %s', async (side, _, workload) => {
    const report = await explorePair(workload, { seed, side, ...BOUNDS });
    expect(report.failures.length === 0 ? '' : describeReport(report)).toBe('');
    expect(report.cutRecoveries).toBeGreaterThan(0);
  });
});
