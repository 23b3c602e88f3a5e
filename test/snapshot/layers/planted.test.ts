/**
 * Barriers of moments that are kept, left out: the explorer finds each, in workloads in which it finds nothing otherwise
 * (explored.test.ts).
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { bufferList } from '../../../src/device/buffers.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import type { HoldingDevice } from '../../../src/device/holding-device.js';
import { type Delay, turns } from '../../../src/lab/self/delays.js';
import type { Wrap } from '../../../src/lab/self/snapshot/explored-store.js';
import { ExploredStore, type PartName } from '../../../src/lab/self/snapshot/explored-store.js';
import { exploreSnapshots } from '../../../src/lab/self/snapshot/run.js';
import { SealedSlots } from '../../../src/lab/self/snapshot/sealed-slots.js';
import { SNAPSHOTS_WORKLOADS } from '../../../src/lab/self/snapshot/workloads.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { KEPT_ENTRY, KEPT_GROUP, KEPT_KINDS } from '../../../src/replication/kept/fields.js';
import { SlotContainer } from '../../../src/snapshot/container/slots.js';
import { Chain } from '../../../src/snapshot/layers/chain.js';
import { Layer } from '../../../src/snapshot/layers/layer.js';
import type { MomentRecord } from '../../../src/snapshot/layers/records.js';
import { Moments } from '../../../src/snapshot/moments.js';
import { firstFailure } from '../../support/crash/flush-mutation.js';

const LATE: Delay = { random: new SeededRandom(1), maxTurns: 6 };

/** What is found soon is not looked for long. */
const BOUNDS = [
  { maxImages: 40, maxImagesPerCut: 2, maxStates: 2000 },
  { maxImages: 300, maxImagesPerCut: 6, maxStates: 10_000 },
];

afterEach(() => vi.restoreAllMocks());

/** What is wrong after some cut of these workloads. */
function found(workloads: RegExp, wrap?: Wrap): Promise<string> {
  const chosen = SNAPSHOTS_WORKLOADS.filter(({ name }) => workloads.test(name));
  if (chosen.length === 0) throw new Error(`there is no workload ${workloads}`);
  const reports = async function* () {
    for (const bounds of BOUNDS)
      for (const workload of chosen) yield await exploreSnapshots(workload, { seed: 1, wrap, ...bounds });
  };
  return firstFailure(reports());
}

function withoutFlushOf(isMeant: (part: PartName) => boolean): Wrap {
  return (device, part) => (isMeant(part) ? unflushed(device) : device);
}

function unflushed(device: BlockDevice): BlockDevice {
  return withCalls(device, { flush: async () => {} });
}

/** Without the flush that follows a group that only names blocks. */
function unflushedMarks(device: BlockDevice): BlockDevice {
  let isMarks = false;
  return withCalls(device, {
    async write(offset, from, options) {
      const [index] = bufferList(from);
      isMarks = KEPT_ENTRY.at(index!, KEPT_GROUP.sizeBytes).number('kind') === KEPT_KINDS.changed;
      await device.write(offset, from, options);
    },
    async flush() {
      if (!isMarks) await device.flush();
    },
  });
}

/** It takes place, and nobody waits for it. */
function late(call: () => Promise<unknown>): void {
  void turns(LATE).then(() => call().catch(() => {}));
}

describe('of a layer, the explorer finds that', { timeout: 120_000 }, () => {
  const isLayer = (part: PartName) => part.startsWith('layer');

  it('what is kept is not flushed before its blocks are overwritten', async () => {
    expect(await found(/in a chain/, withoutFlushOf(isLayer))).toBe('shows');
  });

  it('marks are not flushed before what they name is changed', async () => {
    const wrap: Wrap = (device, part) => (isLayer(part) ? unflushedMarks(device) : device);
    expect(await found(/marks/, wrap)).toBe('marks');
  });

  it('what a killed process has left in it is not flushed', async () => {
    const { open } = Layer;
    vi.spyOn(Layer, 'open').mockImplementation((device, options) => open(unflushed(device), options));
    expect(await found(/killed before what is kept/)).toMatch(/shows|marks/);
  });

  it('writes do not wait for what is kept of them', async () => {
    const { settle } = Chain.prototype;
    vi.spyOn(Chain.prototype, 'settle').mockImplementation(async function (this: Chain) {
      if (this.note !== undefined) return settle.call(this);
      late(() => settle.call(this));
    });
    expect(await found(/in a chain/)).toBe('shows');
  });

  it('marks are noted after the write', async () => {
    const { settle } = Chain.prototype;
    vi.spyOn(Chain.prototype, 'settle').mockImplementation(async function (this: Chain) {
      if (this.note === undefined) return settle.call(this);
      late(() => settle.call(this));
    });
    expect(await found(/marks alone|marks and snapshots/)).toBe('marks');
  });
});

describe('of the moment, the explorer finds that', { timeout: 120_000 }, () => {
  const topOf = (moments: Moments) => (moments as unknown as { readonly top: HoldingDevice }).top;

  it('nothing is flushed at it', async () => {
    vi.spyOn(Moments.prototype, 'at').mockImplementation(function (this: Moments, body) {
      return topOf(this).held(body) as never;
    });
    expect(await found(/in a chain|amid writes$/)).toMatch(/shows|marks/);
  });

  it('what was written since the first flush is not flushed', async () => {
    vi.spyOn(Moments.prototype, 'at').mockImplementation(async function (this: Moments, body) {
      await topOf(this).flush();
      return topOf(this).held(body) as never;
    });
    expect(await found(/with a cache, snapshots|amid writes$/)).toMatch(/shows|marks/);
  });
});

describe('of the list, the explorer finds that', { timeout: 120_000 }, () => {
  /** Instead of a save of the list as it is meant. */
  function saving(
    body: (
      save: () => Promise<void>,
      store: ExploredStore,
      records: readonly MomentRecord[],
    ) => Promise<void>,
  ) {
    const { save } = ExploredStore.prototype;
    vi.spyOn(ExploredStore.prototype, 'save').mockImplementation(function (this: ExploredStore, records) {
      return body(() => save.call(this, records), this, records);
    });
  }

  it('it is not flushed', async () => {
    const wrap = withoutFlushOf((part) => part === 'list');
    expect(await found(/in a chain/, wrap)).toMatch(/there|gone|shows/);
  });

  it('what a killed process has left on it is not flushed before it counts', async () => {
    vi.spyOn(SealedSlots.prototype, 'settle').mockImplementation(async () => {});
    expect(await found(/killed amid/)).toMatch(/there|gone|shows|good/);
  });

  it('a moment is told, and writes go on, before it is on it', async () => {
    saving(async (save) => late(save));
    expect(await found(/in a chain|marks alone/)).toMatch(/there|gone|shows|marks|good/);
  });

  it('a layer is removed before it says so', async () => {
    saving(async (save, store, records) => {
      const needed = new Set(records.flatMap(({ layers }) => layers.map(({ id }) => id)));
      for (const layer of store.saved.flatMap(({ layers }) => layers))
        if (!needed.has(layer.id)) await store.removeLayer(layer);
      await save();
    });
    expect(await found(/oldest one/)).toBe('good');
  });

  it('a write goes on before it says what is lost', async () => {
    saving(async (save, store, records) => {
      const isLost = (list: readonly MomentRecord[]) =>
        list.filter(({ unusable }) => unusable !== null).length;
      if (isLost(records) > isLost(store.saved)) late(save);
      else await save();
    });
    expect(await found(/fills up: (drop|throttle)/)).toBe('shows');
  });

  it('where it cannot say so, the layers are still there', async () => {
    vi.spyOn(ExploredStore.prototype, 'removeLayer').mockImplementation(async () => {});
    expect(await found(/a layer fails, and/)).toMatch(/shows|marks/);
  });
});

describe('of a backup, the explorer finds that', { timeout: 120_000 }, () => {
  it('it has a name before all of it is durable', async () => {
    expect(
      await found(
        /backup/,
        withoutFlushOf((part) => part === 'target'),
      ),
    ).toBe('backup');
  });

  it('its end is told before its name is durable', async () => {
    expect(
      await found(
        /backup/,
        withoutFlushOf((part) => part === 'named'),
      ),
    ).toBe('backed up');
  });

  it('its container keeps something else', async () => {
    const { keep } = SlotContainer.prototype;
    vi.spyOn(SlotContainer.prototype, 'keep').mockImplementation(function (this: SlotContainer, range) {
      return keep.call(this, range, new Uint8Array(BLOCK_BYTES * range.count).fill(7));
    });
    expect(await found(/backup/)).toBe('backup');
  });
});
