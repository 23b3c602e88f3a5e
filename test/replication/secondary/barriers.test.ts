/**
 * Flush mutation (docs/crash-model.md): every place of a secondary that asks for a flush is found by the call itself and left
 * out in turn. The explorer finds each, in workloads in which it finds nothing otherwise (power-cut.test.ts). What makes an
 * order without a flush of its own is left out too.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Report } from '../../../src/crash/explorer-report.js';
import type { ProfileName } from '../../../src/crash/profiles.js';
import type { SecondaryRecordOptions } from '../../../src/lab/self/replication/secondary-recording.js';
import { exploreSecondary } from '../../../src/lab/self/replication/secondary-run.js';
import { SECONDARY_WORKLOADS } from '../../../src/lab/self/replication/secondary-workloads.js';
import { KeptContainer } from '../../../src/replication/secondary/kept-container.js';
import { LogWriter } from '../../../src/replication/secondary/log-writer.js';
import { MarksFile } from '../../../src/replication/secondary/marks.js';
import { type Sequenced, Slots } from '../../../src/replication/secondary/slots.js';
import { expectEachMissed, firstFailure, NOTHING } from '../../support/crash/flush-mutation.js';
import { sitesIn, withoutFlush } from '../../support/crash/flush-sites.js';

/** One seed finds nearly all of them; and on a busy machine two seconds were too few to. */
const SEEDS = [1, 2, 3];
const BOUNDS = { maxImages: 300, maxImagesPerCut: 4, maxStates: 20_000, maxSeconds: 20 };
const LOOK = { maxImages: 40, maxImagesPerCut: 2, maxStates: 2000 };
const LOOKS = ['opening', 'promote'] as const;
/** What tears a sector into noise shows what needs two slots. */
const PROFILES: readonly ProfileName[] = ['sector-512', 'garbage-torn'];

/** Against noise in two sectors at once, which no cut leaves here: slots.test.ts holds it. */
const IS_FOR_ROT = /^epochs, flush: slots\.ts /;

const FILES = /^replication\/secondary\//;

type Workload = (typeof SECONDARY_WORKLOADS)[number];
type Wrap = NonNullable<SecondaryRecordOptions['wrap']>;

afterEach(() => vi.restoreAllMocks());

const leavingOut =
  (keeps: (site: string) => boolean): Wrap =>
  (device, part) =>
    withoutFlush(device, sitesIn(FILES, part), keeps);

async function* reports(workloads: readonly Workload[], wrap?: Wrap): AsyncIterable<Report> {
  for (const seed of SEEDS)
    for (const profile of PROFILES)
      for (const workload of workloads)
        for (const looksAt of LOOKS)
          yield await exploreSecondary(workload, { seed, profile, looksAt, wrap, ...BOUNDS });
}

describe('every place that asks for a flush', () => {
  it('is missed when it does not', { timeout: 900_000 }, () =>
    expectEachMissed({
      workloads: SECONDARY_WORKLOADS,
      leavingOut,
      async look(workload, wrap) {
        for (const looksAt of LOOKS) {
          const { failures } = await exploreSecondary(workload, { seed: 1, looksAt, wrap, ...LOOK });
          expect(failures).toEqual([]);
        }
      },
      search: (workloads, wrap) => firstFailure(reports(workloads, wrap)),
      apartFrom: IS_FOR_ROT,
      leastSites: 6,
    }),
  );
});

const found = () => firstFailure(reports(SECONDARY_WORKLOADS));

describe('the explorer finds that', { timeout: 600_000 }, () => {
  it('room in the log is used again before a header says so durably', async () => {
    const prototype = LogWriter.prototype as unknown as { room(): Promise<void> };
    vi.spyOn(prototype, 'room').mockImplementation(async () => undefined);
    expect(await found()).not.toBe(NOTHING);
  });

  it('nothing is kept', async () => {
    vi.spyOn(KeptContainer.prototype, 'keep').mockImplementation(async () => undefined);
    expect(await found()).toMatch(/promoted-point/);
  });

  it('the marks say that the container is whole when it is not', async () => {
    const change = MarksFile.prototype.change;
    vi.spyOn(MarksFile.prototype, 'change').mockImplementation(async function (this: MarksFile, changes) {
      if (changes.isKeptWhole === false && changes.state === undefined) return;
      await change.call(this, changes);
    });
    expect(await found()).toMatch(/promoted-point/);
  });

  it('a new log begins in one slot alone', async () => {
    vi.spyOn(Slots.prototype, 'putBoth').mockImplementation(async function (this: Slots<Sequenced>, value) {
      await this.putNext(value);
    });
    expect(await found()).not.toBe(NOTHING);
  });
});
