/** A primary with several secondaries, as test/replication/pair/several.test.ts, for minutes. */
import { CHAIN_WORKLOADS } from '../../support/replication/chain-workloads.js';
import { JOINING_WORKLOADS } from '../../support/replication/joining-workloads.js';
import type { Side } from '../../support/replication/pair-devices.js';
import { explorePair } from '../../support/replication/pair-run.js';
import { TWO_WORKLOADS } from '../../support/replication/two-workloads.js';
import { describeLongRun, WITH_NOISE } from '../long-run.js';
import { IMAGES_PER_CUT, statesOf } from './long-run.js';

const SIDES: readonly Side[] = ['primary', 'second', 'third', 'all'];

const workloads = SIDES.flatMap((side) =>
  [...TWO_WORKLOADS, ...JOINING_WORKLOADS, ...CHAIN_WORKLOADS].map((workload) => ({
    name: `cut of ${side}: ${workload.name}`,
    side,
    workload,
  })),
);

describeLongRun({
  title: 'a primary and several secondaries',
  workloads,
  states: statesOf('several', workloads.length),
  shares: WITH_NOISE,
  explore: ({ side, workload }, options) =>
    explorePair(workload, { ...options, side, maxImagesPerCut: IMAGES_PER_CUT }),
});
