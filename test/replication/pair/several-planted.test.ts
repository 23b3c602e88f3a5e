/**
 * Faults that matter only where a primary has more than one secondary, planted: the explorer finds each, in workloads in which it
 * finds nothing otherwise (several.test.ts).
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { type Delay, turns } from '../../../src/lab/self/delays.js';
import { CHAIN_WORKLOADS } from '../../../src/lab/self/replication/chain-workloads.js';
import { JOINING_WORKLOADS } from '../../../src/lab/self/replication/joining-workloads.js';
import type { Side } from '../../../src/lab/self/replication/pair-devices.js';
import type { PairWorkload } from '../../../src/lab/self/replication/pair-recording.js';
import { explorePair } from '../../../src/lab/self/replication/pair-run.js';
import { TWO_WORKLOADS } from '../../../src/lab/self/replication/two-workloads.js';
import type { BlockRange } from '../../../src/replication/blocks.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { ReplicatedDevice } from '../../../src/replication/replicated-device.js';
import { Replication } from '../../../src/replication/replication.js';
import { ListedBlocks } from '../../../src/replication/tracking/listed-blocks.js';
import { Tracker } from '../../../src/replication/tracking/tracker.js';
import { firstFailure } from '../../support/crash/flush-mutation.js';

const LATE: Delay = { random: new SeededRandom(1), maxTurns: 6 };

/** What is found soon is not looked for long. */
const BOUNDS = [
  { maxImages: 15, maxImagesPerCut: 1, maxStates: 2000 },
  { maxImages: 80, maxImagesPerCut: 2, maxStates: 10_000 },
];

afterEach(() => vi.restoreAllMocks());

async function found(workloads: readonly PairWorkload[], sides: readonly Side[]): Promise<string> {
  const reports = async function* () {
    for (const bounds of BOUNDS)
      for (const side of sides)
        for (const workload of workloads) yield await explorePair(workload, { seed: 1, side, ...bounds });
  };
  return firstFailure(reports());
}

describe('of two secondaries, the explorer finds that', { timeout: 300_000 }, () => {
  const late = TWO_WORKLOADS.filter(({ name }) => name.includes('late') || name.includes('lost'));
  const look = () => found(late, ['third', 'primary']);

  it('RESET of one takes a block off the log that the other needs there', async () => {
    const { remove } = ListedBlocks.prototype;
    vi.spyOn(ListedBlocks.prototype, 'remove').mockImplementation(function (this: ListedBlocks, range) {
      remove.call(this, range);
    });
    expect(await look()).toBe('named');
  });

  it('what an opening finds in the log is dirty for the first one alone', async () => {
    const { recover } = Tracker.prototype;
    vi.spyOn(Tracker.prototype, 'recover').mockImplementation(async function (this: Tracker, active) {
      const [first, ...others] = this.secondaries;
      for (const other of others) this.secondaries.delete(other);
      await recover.call(this, active);
      if (first !== undefined) for (const other of others) this.secondaries.add(other);
    });
    expect(await look()).toMatch(/named|known/);
  });
});

describe('of a replica that is added, the explorer finds that', { timeout: 300_000 }, () => {
  const amidWrites = JOINING_WORKLOADS.filter(({ name }) => !name.includes('lost'));
  const look = () => found(amidWrites, ['all', 'primary', 'third']);

  it('its map is written when it is in the list already', async () => {
    const { persist } = MapFile.prototype;
    vi.spyOn(MapFile.prototype, 'persist').mockImplementation(async function (
      this: MapFile,
      ranges: readonly BlockRange[],
    ) {
      if (ranges[0]?.count !== this.map.blocks) return persist.call(this, ranges);
      void turns(LATE).then(() => persist.call(this, ranges).catch(() => undefined));
    });
    expect(await look()).toMatch(/named|known/);
  });
});

describe('of a chain, the explorer finds that', { timeout: 300_000 }, () => {
  it('an epoch goes down in two halves', async () => {
    const { writeWhole } = ReplicatedDevice.prototype;
    vi.spyOn(ReplicatedDevice.prototype, 'writeWhole').mockImplementation(async function (
      this: ReplicatedDevice,
      changes,
    ) {
      const half = Math.ceil(changes.length / 2);
      await writeWhole.call(this, changes.slice(0, half));
      await this.flush();
      await writeWhole.call(this, changes.slice(half));
    });
    expect(await found(CHAIN_WORKLOADS, ['second', 'third'])).toMatch(/moment|promised/);
  });

  it('an epoch goes down before the one before it is durable in the middle', async () => {
    const { flush } = ReplicatedDevice.prototype;
    vi.spyOn(ReplicatedDevice.prototype, 'flush').mockImplementation(async function (this: ReplicatedDevice) {
      void flush.call(this).catch(() => undefined);
    });
    // The primary keeps its power: of it nothing is missed so.
    expect(await found(CHAIN_WORKLOADS, ['second'])).toMatch(/named|known|promised/);
  });

  it('what the log in the middle lists is not dirty for the last one', async () => {
    const { recover } = Tracker.prototype;
    vi.spyOn(Tracker.prototype, 'recover').mockImplementation(async function (this: Tracker, active) {
      const isOwn = [...this.secondaries].every(({ name }) => name === 'third');
      await recover.call(this, isOwn ? [] : active);
    });
    expect(await found(CHAIN_WORKLOADS, ['third', 'second'])).toBe('named');
  });

  it('the last one is not held while the middle is resynced', async () => {
    const { hold } = Replication.prototype;
    vi.spyOn(Replication.prototype, 'hold').mockImplementation(async function (this: Replication, why) {
      if (why === 'it is closed') await hold.call(this, why);
    });
    const resynced = CHAIN_WORKLOADS.filter(({ name }) => name.includes('resync'));
    expect(await found(resynced, ['third'])).toMatch(/moment|promised/);
  });
});
