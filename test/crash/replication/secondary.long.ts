/** A secondary, as test/replication/secondary/power-cut.test.ts, for minutes. */
import { exploreSecondary } from '../../support/replication/secondary-run.js';
import { SECONDARY_WORKLOADS } from '../../support/replication/secondary-workloads.js';
import { describeLongRun, WITH_NOISE } from '../long-run.js';
import { IMAGES_PER_CUT, statesOf } from './long-run.js';

const LOOKS = ['opening', 'promote'] as const;

const workloads = LOOKS.flatMap((looksAt) =>
  SECONDARY_WORKLOADS.map((workload) => ({ name: `${looksAt}: ${workload.name}`, looksAt, workload })),
);

describeLongRun({
  title: 'a secondary',
  workloads,
  states: statesOf('secondary', workloads.length),
  shares: WITH_NOISE,
  explore: ({ looksAt, workload }, options) =>
    exploreSecondary(workload, { ...options, looksAt, maxImagesPerCut: IMAGES_PER_CUT }),
});
