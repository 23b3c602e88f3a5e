/** Half of the workloads of arrays, explored for minutes. */
import type { Workload } from '../../support/crash/raid-recording.js';
import { exploreWorkload } from '../../support/crash/raid-run.js';
import { FIRST_HALF, SECOND_HALF } from '../../support/crash/raid-workloads.js';
import { describeLongRun, statesOr } from '../long-run.js';

export function describeHalf(workloads: readonly Workload[]): void {
  describeLongRun({
    title: 'an array',
    workloads,
    states: statesOr(5_700_000) / (FIRST_HALF.length + SECOND_HALF.length),
    explore: async (workload, options) => (await exploreWorkload(workload, options)).report,
  });
}
