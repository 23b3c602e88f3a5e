/**
 * The barriers of the metadata engine, left out one by one: the explorer finds what each of them is for, in workloads in
 * which it finds nothing otherwise (engine.test.ts). What makes the order of writes without a barrier is left out too.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Report } from '../../../src/crash/explorer-report.js';
import { exploreEngine } from '../../../src/lab/self/metadata/run.js';
import { ENGINE_WORKLOADS } from '../../../src/lab/self/metadata/workloads.js';
import { FreePages } from '../../../src/metadata/engine/free-pages.js';
import { Halves } from '../../../src/metadata/engine/halves.js';
import { LogWriter } from '../../../src/metadata/engine/log-writer.js';
import { type Barrier, withoutBarrier } from '../../support/crash/engine-barriers.js';
import { firstFailure } from '../../support/crash/flush-mutation.js';

const SEEDS = [1, 2, 3];
/** For what shows at few cuts, and there in most states: many cuts. */
const FEW_A_CUT = { maxImages: 250, maxImagesPerCut: 2, maxStates: 20_000 };
const BOUNDS = { maxImages: 1000, maxImagesPerCut: 40, maxStates: 20_000 };

function named(part: string) {
  return ENGINE_WORKLOADS.find(({ name }) => name.includes(part))!;
}

afterEach(() => vi.restoreAllMocks());

/** What the first seed shows that shows it. */
const firstOf = (explore: (seed: number) => Promise<Report>) =>
  firstFailure(
    (async function* () {
      for (const seed of SEEDS) yield await explore(seed);
    })(),
  );

const BARRIERS: readonly [Barrier, string, RegExp][] = [
  ['fua of a log record', 'one commit after another', /acknowledged|opens/],
  ['fua of a root', 'commits that share records', /opens|acknowledged|all-or-nothing/],
  ['fua of a header', 'an engine is made over another', /there/],
  ['flush between pages and root', 'one commit after another', /opens|whole/],
  ['flush after copies were mended', 'half B fails', /acknowledged|opens/],
  ['flush between the old header and the new engine', 'an engine is made over another', /opens/],
  ['flush between the new engine and its header', 'an engine is made over another', /opens/],
];

describe('the explorer finds that there is no', { timeout: 600_000 }, () => {
  it.each(BARRIERS)('%s', async (barrier, workload, breaks) => {
    let leftOut = 0;
    const found = await firstOf(async (seed) => {
      const counts: (() => number)[] = [];
      const wrap = (device: Parameters<typeof withoutBarrier>[0]) => {
        const without = withoutBarrier(device, barrier);
        counts.push(without.leftOut);
        return without.device;
      };
      const report = await exploreEngine(named(workload), { seed, ...BOUNDS, wrap });
      for (const count of counts) leftOut += count();
      return report;
    });
    expect(leftOut).toBeGreaterThan(0);
    expect(found).toMatch(breaks);
  });
});

describe('the explorer finds that', { timeout: 600_000 }, () => {
  it('records have one copy', async () => {
    vi.spyOn(Halves.prototype, 'write').mockImplementation(function (this: Halves, offset, bytes, options) {
      return this.range.device.write(this.offsetIn('A', offset), bytes, options);
    });
    const found = await firstOf((seed) => exploreEngine(named('one commit'), { seed, ...BOUNDS }));
    expect(found).toMatch(/there|acknowledged|opens/);
  });

  it('pages of the old tree are written while its root counts', async () => {
    const next = FreePages.prototype.next;
    vi.spyOn(FreePages.prototype, 'next').mockImplementation(function (this: FreePages) {
      const pages = next.call(this);
      let spare: number[] = [];
      return {
        ...pages,
        free: (page) => spare.push(page),
        allocate: () => {
          const [page, ...others] = spare;
          spare = others;
          return page ?? pages.allocate();
        },
      };
    });
    const found = await firstOf((seed) => exploreEngine(named('one commit'), { seed, ...BOUNDS }));
    expect(found).toMatch(/opens|whole/);
  });

  it("the log's room is given out before the root is durable", async () => {
    const mark = LogWriter.prototype.mark;
    vi.spyOn(LogWriter.prototype, 'mark').mockImplementation(async function (this: LogWriter) {
      const place = await mark.call(this);
      this.release(place.position);
      return place;
    });
    const found = await firstOf((seed) => exploreEngine(named('two write'), { seed, ...FEW_A_CUT }));
    expect(found).toMatch(/opens|acknowledged|all-or-nothing/);
  });

  it('the tree is ahead of the log', async () => {
    const mark = LogWriter.prototype.mark;
    vi.spyOn(LogWriter.prototype, 'mark').mockImplementation(async function (this: LogWriter) {
      const before = this.head;
      mark.call(this).catch(() => undefined);
      return before;
    });
    const found = await firstOf((seed) =>
      exploreEngine(named('many commits at once'), { seed, ...FEW_A_CUT }),
    );
    expect(found).toMatch(/opens|acknowledged|all-or-nothing|called/);
  });
});
