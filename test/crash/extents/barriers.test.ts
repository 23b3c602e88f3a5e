/**
 * Flush mutation of files on extents (docs/crash-model.md): every place of this layer that asks for a barrier is found by
 * the call itself and left out in turn, and so is what makes an order without one. The explorer finds each, in workloads
 * in which it finds nothing otherwise (plain.test.ts).
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../src/device/contract.js';
import type { Change } from '../../../src/metadata/engine/contract.js';
import { exploreExtents } from '../../support/crash/extents-run.js';
import { PLAIN, type Plant } from '../../support/crash/extents-stand.js';
import { EXTENTS_WORKLOADS } from '../../support/crash/extents-workloads.js';

const SEEDS = [1, 2, 3];
const BOUNDS = { maxImages: 400, maxImagesPerCut: 4, maxStates: 20_000 };
const LOOK = { maxImages: 40, maxImagesPerCut: 2, maxStates: 2000 };

/** Frames that only hand a call on, and those of a layer that has mutants of its own (test/crash/metadata). */
const OWN = /\/src\/(extents\/|metadata\/completion\.ts)/;

/** Who asks for the flush, and for what of two things that one place does; null: another layer. */
function siteOf(): string | null {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 20;
  const frames = (new Error().stack ?? '').split('\n').filter((line) => line.includes('/src/'));
  Error.stackTraceLimit = limit;
  if (!OWN.test(frames[0] ?? '')) return null;
  const callers = ['completePage', 'keeping.ts'];
  const lines = [frames[0], ...callers.map((name) => frames.find((line) => line.includes(name)))];
  return lines.map((line) => /\/src\/([\w/-]+\.ts:\d+)/.exec(line ?? '')?.[1] ?? '').join(' ');
}

function withoutFlush(keeps: (site: string) => boolean): Plant {
  return {
    device: (device) =>
      new Proxy(device, {
        get(target, key) {
          if (key === 'flush') {
            return async () => {
              const site = siteOf();
              if (site === null || keeps(site)) await target.flush();
            };
          }
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }) as BlockDevice,
  };
}

type Workload = (typeof EXTENTS_WORKLOADS)[number];

async function firstFailure(
  plant: Plant,
  workloads: readonly Workload[] = EXTENTS_WORKLOADS,
): Promise<string> {
  for (const seed of SEEDS) {
    for (const workload of workloads) {
      const { failures } = await exploreExtents(workload, { seed, stand: PLAIN, plant, ...BOUNDS });
      if (failures.length > 0) return failures.map(({ invariant }) => invariant).join();
    }
  }
  return 'nothing';
}

describe('every place that asks for a flush', () => {
  it('is missed when it does not', { timeout: 900_000 }, async () => {
    /** With the workloads that come by: no other can miss it. */
    const sites = new Map<string, Set<Workload>>();
    for (const workload of EXTENTS_WORKLOADS) {
      const look = withoutFlush((site) => {
        sites.set(site, (sites.get(site) ?? new Set()).add(workload));
        return true;
      });
      const report = await exploreExtents(workload, { seed: 1, stand: PLAIN, plant: look, ...LOOK });
      expect(report.failures).toEqual([]);
    }
    const found = new Map<string, string>();
    for (const [site, workloads] of sites)
      found.set(
        site,
        await firstFailure(
          withoutFlush((each) => each !== site),
          [...workloads],
        ),
      );
    console.log([...found].map(([site, invariant]) => `${site}: ${invariant}`).join('\n'));
    expect([...found].filter(([, invariant]) => invariant === 'nothing')).toEqual([]);
    expect(found.size).toBeGreaterThanOrEqual(6);
  });

  it('or when the metadata engine answers before its commits are durable', { timeout: 300_000 }, async () => {
    const hasty: Plant = {
      engine: (engine) =>
        new Proxy(engine, {
          get(target, key) {
            if (key === 'commit') {
              return async (changes: readonly Change[]) => {
                target.commit(changes).catch(() => undefined);
              };
            }
            const value: unknown = Reflect.get(target, key, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        }),
    };
    expect(await firstFailure(hasty)).toMatch(/acknowledged|all-or-nothing|there|opens/);
  });
});
