/** As power-cut.test.ts, of a primary that has more than one secondary: of each machine, and of all at once. */
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/crash/explorer-report.js';
import { JOINING_WORKLOADS } from '../../support/replication/joining-workloads.js';
import { explorePair } from '../../support/replication/pair-run.js';
import { TWO_WORKLOADS } from '../../support/replication/two-workloads.js';

/** Minutes of it are test/crash/replication/. */
const BOUNDS = { maxImages: 8, maxImagesPerCut: 2, maxStates: 800 };

const WORKLOADS = [...TWO_WORKLOADS, ...JOINING_WORKLOADS];

describe.each(['primary', 'second', 'third', 'all'] as const)(
  'whatever a power cut leaves of %s:',
  (side) => {
    const seed = Number(process.env.HOLDFAST_SEED ?? 1);

    it.each(WORKLOADS.map((each) => [each.name, each] as const))('%s', async (_, workload) => {
      const report = await explorePair(workload, { seed, side, ...BOUNDS });
      expect(report.failures.length === 0 ? '' : describeReport(report)).toBe('');
      expect(report.cutRecoveries).toBeGreaterThan(0);
    });
  },
);
