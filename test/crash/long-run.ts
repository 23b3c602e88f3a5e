/**
 * Workloads explored for minutes, each by several profiles, with a report of what was seen. HOLDFAST_SEED gives a run
 * again; HOLDFAST_CRASH_STATES says how many states it is to have, all files of a layer together.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { describeReport, type Report } from '../../src/crash/explorer-report.js';
import type { ProfileName } from '../../src/crash/profiles.js';
import type { SelfWorkload } from '../../src/lab/self/layers.js';
import { withSeed } from '../support/devices/seeded-random.js';

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

/** Where a sector of noise costs nothing but work. */
export const WITH_NOISE: typeof SHARES = [
  ['sector-512', 0.6],
  ['sector-4096', 0.1],
  ['atomic-write', 0.1],
  ['garbage-torn', 0.1],
  ['kill-9', 0.1],
];

/** How many states, unless somebody says another number. */
export function statesOr(states: number): number {
  return Number(process.env.HOLDFAST_CRASH_STATES ?? states);
}

export interface LongRun {
  readonly title: string;
  readonly workloads: readonly SelfWorkload[];
  /** Of each workload, all profiles together. */
  readonly states: number;
  readonly shares?: typeof SHARES;
  /** Different states are what takes time: each cut has its share of them. Default: as many as there are. */
  readonly maxImagesPerCut?: number;
}

export function describeLongRun(run: LongRun): void {
  const { title, workloads, states, maxImagesPerCut = Number.POSITIVE_INFINITY, shares = SHARES } = run;
  const reports: Report[] = [];
  describe.each(shares)(`${title}, %s`, (profile, share) => {
    it.each(workloads.map((workload) => [workload.name, workload] as const))('%s', async (name, workload) => {
      await withSeed(async (random) => {
        const seed = random.below(2 ** 31);
        const maxStates = Math.ceil(states * share);
        const report = await workload.explore({ seed, profile, maxStates, maxImagesPerCut });
        reports.push(report);
        console.log(`${name}\n${describeReport(report)}\n`);
        expect(report.failures).toEqual([]);
      });
    });
  });

  afterAll(() => {
    const sum = (of: (report: Report) => number) => reports.reduce((total, report) => total + of(report), 0);
    const [all, seconds] = [sum((report) => report.states), sum((report) => report.seconds)];
    console.log(
      `together ${all} states, ${sum((report) => report.images)} different, ${Math.round(all / seconds)} states/s, ${Math.round(seconds)} s`,
    );
  });
}
