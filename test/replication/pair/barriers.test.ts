/**
 * Flush mutation of the primary's side (docs/crash-model.md): every place that asks for a flush or for fua is found by the call
 * itself and left out in turn; and what makes an order without a flush of its own is planted as a fault. The explorer finds
 * each, in workloads in which it finds nothing otherwise (power-cut.test.ts).
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Report } from '../../../src/crash/explorer-report.js';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { turns } from '../../../src/lab/self/delays.js';
import type { DeviceName, Side } from '../../../src/lab/self/replication/pair-devices.js';
import type { PairRecordOptions, PairWorkload } from '../../../src/lab/self/replication/pair-recording.js';
import { explorePair } from '../../../src/lab/self/replication/pair-run.js';
import { PAIR_WORKLOADS } from '../../../src/lab/self/replication/pair-workloads.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import type { BlockRange } from '../../../src/replication/blocks.js';
import { TransactionLog } from '../../../src/replication/log/transaction-log.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { Acknowledged } from '../../../src/replication/sending/acknowledged.js';
import { PrimaryFlushes } from '../../../src/replication/sending/primary-flushes.js';
import { Sender } from '../../../src/replication/sending/sender.js';
import { SecondaryTracking } from '../../../src/replication/tracking/secondary-tracking.js';
import { expectEachMissed, firstFailure } from '../../support/crash/flush-mutation.js';
import { sitesIn, withoutFlush } from '../../support/crash/flush-sites.js';

const SIDES: readonly Side[] = ['all', 'primary', 'second'];
/** What is found soon is not looked for long. */
const BOUNDS = [
  { maxImages: 15, maxImagesPerCut: 1, maxStates: 2000 },
  { maxImages: 80, maxImagesPerCut: 2, maxStates: 10_000 },
];
const LOOK = { maxImages: 4, maxImagesPerCut: 1, maxStates: 200 };
/** The primary's side; who flushes the primary is the one who asks for it. */
const FILES = /^replication\/(?!secondary\/|sending\/primary-flushes)/;
/** Not the map of what was never copied: it makes no block clean, and what it loses verify leaves out. */
const OF_PRIMARY: ReadonlySet<DeviceName> = new Set<DeviceName>(['primary', 'log', 'map']);

/** What an opening has found is in the maps, durably, before the log is written again: the log alone promises more. */
const IS_FOR_LOG_ALONE = /^log, flush: .*#flush$/;

/** No resync: its flushes are not meant. */
const EPOCHS = PAIR_WORKLOADS.filter(({ name }) => name.startsWith('one epoch after another'));

type Plant = Pick<PairRecordOptions, 'wrap' | 'overConnection'>;

afterEach(() => vi.restoreAllMocks());

function leavingOut(keeps: (site: string) => boolean): Plant {
  const without = (device: BlockDevice, name: string) => withoutFlush(device, sitesIn(FILES, name), keeps);
  return {
    wrap: (device, name) => (OF_PRIMARY.has(name) ? without(device, name) : device),
    overConnection: (device) => without(device, 'connection'),
  };
}

async function* reports(workloads: readonly PairWorkload[], plant: Plant): AsyncIterable<Report> {
  for (const bounds of BOUNDS)
    for (const side of SIDES)
      for (const workload of workloads)
        yield await explorePair(workload, { seed: 1, side, ...plant, ...bounds });
}

const found = (plant: Plant, workloads: readonly PairWorkload[] = PAIR_WORKLOADS) =>
  firstFailure(reports(workloads, plant));

describe('every place that asks for a flush', () => {
  it('is missed when it does not', { timeout: 900_000 }, () =>
    expectEachMissed({
      workloads: PAIR_WORKLOADS,
      leavingOut,
      async look(workload, plant) {
        const { failures } = await explorePair(workload, { seed: 1, side: 'all', ...plant, ...LOOK });
        expect(failures).toEqual([]);
      },
      search: (workloads, plant) => found(plant, workloads),
      apartFrom: IS_FOR_LOG_ALONE,
      leastSites: 8,
    }),
  );
});

describe('the explorer finds that', { timeout: 600_000 }, () => {
  it('RESET comes with the acknowledgement of the secondary alone', async () => {
    vi.spyOn(PrimaryFlushes.prototype, 'isDurable').mockReturnValue(true);
    expect(await found({})).toMatch(/named|known/);
  });

  it('DELETE comes before the flush of the secondary has ended', async () => {
    const late = (device: BlockDevice): BlockDevice => {
      const flush = async () => void device.flush().catch(() => undefined);
      return withCalls(device, { flush });
    };
    expect(await found({ overConnection: late })).toMatch(/named|known|promised/);
  });

  it('an epoch is sent before the last one is durable', async () => {
    // Each request takes its own time on the way, as over NBD: a flush may be overtaken.
    const reordered = (call: (device: BlockDevice) => BlockDevice['flush']): Plant => ({
      overConnection(device) {
        const delay = { random: new SeededRandom(1), maxTurns: 4 };
        const late =
          <A extends unknown[]>(work: (...args: A) => Promise<void>) =>
          async (...args: A) => {
            await turns(delay);
            await work(...args);
          };
        return withCalls(device, {
          write: late((...args) => device.write(...args)),
          writeZeroes: late((...args) => device.writeZeroes(...args)),
          flush: call(withCalls(device, { flush: late(() => device.flush()) })),
        });
      },
    });
    expect(
      await found(
        reordered((device) => () => device.flush()),
        EPOCHS,
      ),
    ).toBe('nothing');
    // What is acknowledged is what is durable, as ever: only the order of sending is another.
    let flushed: Promise<void> = Promise.resolve();
    const { add } = Acknowledged.prototype;
    vi.spyOn(Acknowledged.prototype, 'add').mockImplementation(function (this: Acknowledged, updates) {
      void flushed.then(() => add.call(this, updates));
    });
    const { durable } = Sender.prototype;
    vi.spyOn(Sender.prototype, 'durable').mockImplementation(async function (this: Sender, position) {
      await durable.call(this, position);
      await flushed;
    });
    const early = (device: BlockDevice) => async () => {
      flushed = device.flush();
      flushed.catch(() => undefined);
    };
    expect(await found(reordered(early), EPOCHS)).toMatch(/moment|promised/);
  });

  it('a map is written after its data', async () => {
    const { persist } = MapFile.prototype;
    vi.spyOn(MapFile.prototype, 'persist').mockImplementation(async function (
      this: MapFile,
      ranges: readonly BlockRange[],
    ) {
      void persist.call(this, ranges).catch(() => undefined);
    });
    expect(await found({})).toBe('named');
  });

  it('a log write is answered before it is durable', async () => {
    const { begin } = TransactionLog.prototype;
    vi.spyOn(TransactionLog.prototype, 'begin').mockImplementation(async function (
      this: TransactionLog,
      ranges: readonly BlockRange[],
    ) {
      void begin.call(this, ranges).catch(() => undefined);
      return [];
    });
    expect(await found({})).toBe('named');
  });

  it('what was in flight to a secondary that is lost is not dirty', async () => {
    const { lose } = SecondaryTracking.prototype;
    vi.spyOn(SecondaryTracking.prototype, 'lose').mockImplementation(function (this: SecondaryTracking) {
      this.map.clearAll();
      lose.call(this);
    });
    expect(await found({})).toMatch(/named|known/);
  });
});
