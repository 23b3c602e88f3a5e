/**
 * The workloads explored for minutes, each by several profiles, with a report of what was seen. HOLDFAST_SEED gives a
 * run again; HOLDFAST_CRASH_STATES says how many states it is to have, both halves together.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { describeReport, type Report } from '../../../src/crash/explorer-report.js';
import type { ProfileName } from '../../../src/crash/profiles.js';
import type { Workload } from '../../support/crash/raid-recording.js';
import { exploreWorkload, failuresOf } from '../../support/crash/raid-run.js';
import { FIRST_HALF, SECOND_HALF } from '../../support/crash/raid-workloads.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const STATES = Number(process.env.HOLDFAST_CRASH_STATES ?? 5_700_000);
/**
 * What is likeliest gets most. Noise in a torn sector is not among them: md keeps one superblock of one sector a member,
 * so that noise there costs the member, whatever we do.
 */
const SHARES: readonly [ProfileName, number][] = [
  ['sector-512', 0.7],
  ['sector-4096', 0.1],
  ['atomic-write', 0.1],
  ['kill-9', 0.1],
];

export function describeLongRun(workloads: readonly Workload[]): void {
  const each = STATES / (FIRST_HALF.length + SECOND_HALF.length);
  const reports: Report[] = [];
  describe.each(SHARES)('%s', (profile, share) => {
    it.each(workloads.map((workload) => [workload.name, workload] as const))('%s', async (name, workload) => {
      await withSeed(async (random) => {
        const seed = random.below(2 ** 31);
        const maxStates = Math.ceil(each * share);
        const run = await exploreWorkload(workload, { seed, profile, maxStates });
        reports.push(run.report);
        console.log(`${name}\n${describeReport(run.report)}\n`);
        expect(failuresOf(workload, run)).toEqual([]);
      });
    });
  });

  afterAll(() => {
    const sum = (of: (report: Report) => number) => reports.reduce((total, report) => total + of(report), 0);
    const [states, seconds] = [sum((report) => report.states), sum((report) => report.seconds)];
    console.log(
      `together ${states} states, ${sum((report) => report.images)} different, ${Math.round(states / seconds)} states/s, ${Math.round(seconds)} s`,
    );
  });
}
