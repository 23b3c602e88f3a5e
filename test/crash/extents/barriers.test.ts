/**
 * Flush mutation of files on extents (docs/crash-model.md): every place of this layer that asks for a barrier is found by
 * the call itself and left out in turn, and so is what makes an order without one. The explorer finds each, in workloads
 * in which it finds nothing otherwise (plain.test.ts).
 */
import { describe, expect, it } from 'vitest';
import type { Report } from '../../../src/crash/explorer-report.js';
import { exploreExtents } from '../../../src/lab/self/extents/run.js';
import { PLAIN, type Plant } from '../../../src/lab/self/extents/stand.js';
import { EXTENTS_WORKLOADS } from '../../../src/lab/self/extents/workloads.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import type { Change } from '../../../src/metadata/engine/contract.js';
import { expectEachMissed, firstFailure } from '../../support/crash/flush-mutation.js';
import { type Caller, callers, withoutFlush } from '../../support/crash/flush-sites.js';

const SEEDS = [1, 2, 3];
const BOUNDS = { maxImages: 400, maxImagesPerCut: 4, maxStates: 20_000 };
const LOOK = { maxImages: 40, maxImagesPerCut: 2, maxStates: 2000 };

/** Other layers have mutants of their own (test/crash/metadata). */
const OWN = /^(extents\/|metadata\/completion\.ts$)/;

/** Who asks, and for what of two things that one place does. */
function siteOf(): string | null {
  const [nearest, ...others] = callers();
  if (nearest === undefined || !OWN.test(nearest.path)) return null;
  const within = (isIt: (caller: Caller) => boolean) => [nearest, ...others].find(isIt);
  const lines = [
    nearest,
    within(({ name }) => name.includes('completePage')),
    within(({ path }) => path.includes('keeping.ts')),
  ];
  return lines.map((caller) => (caller === undefined ? '' : `${caller.path}:${caller.line}`)).join(' ');
}

type Workload = (typeof EXTENTS_WORKLOADS)[number];

async function* reports(workloads: readonly Workload[], plant: Plant): AsyncIterable<Report> {
  for (const seed of SEEDS)
    for (const workload of workloads)
      yield await exploreExtents(workload, { seed, stand: PLAIN, plant, ...BOUNDS });
}

describe('every place that asks for a flush', () => {
  it('is missed when it does not', { timeout: 900_000 }, () =>
    expectEachMissed({
      workloads: EXTENTS_WORKLOADS,
      leavingOut: (keeps): Plant => ({ device: (device) => withoutFlush(device, siteOf, keeps) }),
      async look(workload, plant) {
        const { failures } = await exploreExtents(workload, { seed: 1, stand: PLAIN, plant, ...LOOK });
        expect(failures).toEqual([]);
      },
      search: (workloads, plant) => firstFailure(reports(workloads, plant)),
      leastSites: 6,
    }),
  );

  it('or when the metadata engine answers before its commits are durable', { timeout: 300_000 }, async () => {
    const hasty: Plant = {
      engine: (engine) =>
        withCalls(engine, {
          async commit(changes: readonly Change[]) {
            engine.commit(changes).catch(() => undefined);
          },
        }),
    };
    expect(await firstFailure(reports(EXTENTS_WORKLOADS, hasty))).toMatch(
      /acknowledged|all-or-nothing|there|opens/,
    );
  });
});
