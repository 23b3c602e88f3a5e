/** Workloads of volumes with moments that are kept, as test/snapshot/layers/explored.test.ts, for minutes. */
import { SNAPSHOTS } from '../../../src/lab/self/layers.js';
import { describeLongRun, statesOr, WITH_NOISE } from '../long-run.js';

export function describeSnapshots(which: keyof typeof SNAPSHOTS): void {
  describeLongRun({
    title: `moments that are kept, ${which}`,
    workloads: SNAPSHOTS[which],
    states: statesOr(1_200_000) / (SNAPSHOTS.whole.length + SNAPSHOTS.lossy.length),
    shares: WITH_NOISE,
    maxImagesPerCut: 40,
  });
}
