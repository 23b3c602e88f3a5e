/** A primary with its secondary, as test/replication/pair/power-cut.test.ts, for minutes. */
import type { Side } from '../../support/replication/pair-devices.js';
import { explorePair } from '../../support/replication/pair-run.js';
import { PAIR_WORKLOADS } from '../../support/replication/pair-workloads.js';
import { describeLongRun, WITH_NOISE } from '../long-run.js';
import { IMAGES_PER_CUT, statesOf } from './long-run.js';

const SIDES: readonly Side[] = ['primary', 'second', 'all'];

const workloads = SIDES.flatMap((side) =>
  PAIR_WORKLOADS.map((workload) => ({ name: `cut of ${side}: ${workload.name}`, side, workload })),
);

describeLongRun({
  title: 'a primary and its secondary',
  workloads,
  states: statesOf('pair', workloads.length),
  shares: WITH_NOISE,
  explore: ({ side, workload }, options) =>
    explorePair(workload, { ...options, side, maxImagesPerCut: IMAGES_PER_CUT }),
});
