/** Workloads of volumes with moments that are kept, as test/snapshot/layers/explored.test.ts, for minutes. */
import { exploreSnapshots } from '../../support/snapshot/snapshot-run.js';
import {
  LOSSY_WORKLOADS,
  SNAPSHOTS_WORKLOADS,
  WHOLE_WORKLOADS,
} from '../../support/snapshot/snapshot-workloads.js';
import { describeLongRun, statesOr, WITH_NOISE } from '../long-run.js';

/** Different states are what takes time: each cut has its share of them. */
const IMAGES_PER_CUT = 40;
const WORKLOADS = { whole: WHOLE_WORKLOADS, lossy: LOSSY_WORKLOADS } as const;

export function describeSnapshots(which: keyof typeof WORKLOADS): void {
  describeLongRun({
    title: `moments that are kept, ${which}`,
    workloads: WORKLOADS[which],
    states: statesOr(1_200_000) / SNAPSHOTS_WORKLOADS.length,
    shares: WITH_NOISE,
    explore: (workload, options) =>
      exploreSnapshots(workload, { ...options, maxImagesPerCut: IMAGES_PER_CUT }),
  });
}
