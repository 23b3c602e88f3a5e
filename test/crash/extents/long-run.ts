/**
 * The workloads of files on extents explored for minutes, by several profiles. HOLDFAST_SEED gives a run again;
 * HOLDFAST_CRASH_STATES says how many states it is to have, on one image and on RAID-5 together.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { describeReport, type Report } from '../../../src/crash/explorer-report.js';
import type { ProfileName } from '../../../src/crash/profiles.js';
import { exploreExtents } from '../../support/crash/extents-run.js';
import type { Stand } from '../../support/crash/extents-stand.js';
import { EXTENTS_WORKLOADS } from '../../support/crash/extents-workloads.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const STATES = Number(process.env.HOLDFAST_CRASH_STATES ?? 2_400_000) / 2;
const SHARES: readonly [ProfileName, number][] = [
  ['sector-512', 0.7],
  ['sector-4096', 0.1],
  ['atomic-write', 0.1],
  ['kill-9', 0.1],
];
/** Different states are what takes time: each cut has its share of them. */
const IMAGES_PER_CUT = 40;

export function describeLongRun(stand: Stand): void {
  const reports: Report[] = [];
  describe.each(SHARES)(`${stand.name}, %s`, (profile, share) => {
    it.each(EXTENTS_WORKLOADS.map((workload) => [workload.name, workload] as const))(
      '%s',
      async (name, workload) => {
        await withSeed(async (random) => {
          const maxStates = Math.ceil((STATES / EXTENTS_WORKLOADS.length) * share);
          const bounds = { maxStates, maxImagesPerCut: IMAGES_PER_CUT };
          const report = await exploreExtents(workload, {
            seed: random.below(2 ** 31),
            stand,
            profile,
            ...bounds,
          });
          reports.push(report);
          console.log(`${name}\n${describeReport(report)}\n`);
          expect(report.failures).toEqual([]);
        });
      },
    );
  });

  afterAll(() => {
    const sum = (of: (report: Report) => number) => reports.reduce((total, report) => total + of(report), 0);
    const [states, seconds] = [sum((report) => report.states), sum((report) => report.seconds)];
    console.log(
      `together ${states} states, ${sum((report) => report.images)} different, ${Math.round(states / seconds)} states/s, ${Math.round(seconds)} s`,
    );
  });
}
