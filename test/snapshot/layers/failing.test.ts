/** What becomes of snapshots, and of who writes, where the devices of their layers fail, and the list too. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { UserError } from '../../../src/errors.js';
import {
  contentOf,
  DeviceStore,
  firstDifference,
  type StackedSnapshots,
  stackSnapshots,
} from '../../../src/lab/self/snapshot/kept-snapshots.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import type { LayerRecord, MomentRecord } from '../../../src/snapshot/layers/records.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';

const BLOCKS = 16;
const GROWING = { onOverflow: 'grow', place: '', layerBytes: null } as const;

/** Over memory that outlives whoever had it. */
class TroubledStore extends DeviceStore<FaultyDevice> {
  /** So many fail from now on; of the list that says this of somebody. */
  failingSaves = 0;
  isRefused: (record: MomentRecord) => boolean = () => true;
  /** The next one that fails is there all the same: only that it is durable could not be had. */
  savesAllTheSame = false;
  failingRemovals = 0;

  constructor(readonly memories = new Map<string, MemoryDevice>()) {
    super(
      new Map([...memories].map(([id, memory]) => [id, new FaultyDevice(memory)])),
      (bytes, id) => {
        const memory = new MemoryDevice(bytes);
        memories.set(id, memory);
        return new FaultyDevice(memory);
      },
      () => {},
    );
  }

  override async save(records: readonly MomentRecord[]): Promise<void> {
    // So that another change can come in between.
    await new Promise(setImmediate);
    if (records.some(this.isRefused) && this.failingSaves-- > 0) {
      if (this.savesAllTheSame) this.saved = records;
      this.savesAllTheSame = false;
      throw new UserError('IO_ERROR', 'the list cannot be written');
    }
    await super.save(records);
  }

  override async removeLayer(layer: LayerRecord): Promise<void> {
    if (this.failingRemovals-- > 0) throw new UserError('IO_ERROR', 'the layer cannot be removed');
    await super.removeLayer(layer);
    this.memories.delete(layer.id);
  }

  get newestLayer(): FaultyDevice {
    return [...this.layers.values()].at(-1)!;
  }
}

interface Machine extends StackedSnapshots {
  readonly base: MemoryDevice;
  readonly store: TroubledStore;
  readonly held: Map<string, Uint8Array>;
  readonly warned: string[];
}

async function machine(): Promise<Machine> {
  const base = new MemoryDevice(BLOCKS * BLOCK_BYTES);
  await base.write(0, new Uint8Array(base.size).fill(1));
  const store = new TroubledStore();
  const warned: string[] = [];
  const stack = await stackSnapshots(base, store, [], { warn: (message) => void warned.push(message) });
  return { ...stack, base, store, warned, held: new Map() };
}

async function create(
  { snapshots, base, held }: Machine,
  name: string,
  kind: 'snapshot' | 'mark' = 'snapshot',
): Promise<void> {
  await snapshots.create({ ...GROWING, name, kind });
  held.set(name, await contentOf(base));
}

function writeBlock({ device }: Machine, block: number, value: number): Promise<void> {
  return device.write(block * BLOCK_BYTES, new Uint8Array(BLOCK_BYTES).fill(value));
}

function states({ snapshots }: Pick<Machine, 'snapshots'>): string[] {
  return snapshots.list().map(({ name, state }) => `${name} ${state}`);
}

/** The good ones show what they held; the others give nothing. */
async function expectGoodOnes({ snapshots, held }: Pick<Machine, 'snapshots' | 'held'>): Promise<void> {
  for (const { name, state } of snapshots.list()) {
    if (state === 'unusable') {
      expect(() => snapshots.view(name)).toThrow(expect.objectContaining({ code: 'METADATA_DAMAGED' }));
      continue;
    }
    const view = snapshots.view(name);
    expect([name, firstDifference(await contentOf(view), held.get(name)!)]).toEqual([name, -1]);
    await view.close();
  }
}

/** As whoever comes after a kill finds it. */
async function reopened({ base, store, held }: Machine): Promise<Machine> {
  const again = new TroubledStore(store.memories);
  const warned: string[] = [];
  const stack = await stackSnapshots(base, again, store.saved, {
    warn: (message) => void warned.push(message),
  });
  return { ...stack, base, store: again, warned, held };
}

describe.each(['write', 'flush'] as const)('a layer of which a %s fails amid writes', (call) => {
  it('loses its snapshot and all older ones, no newer one, and no write', async () => {
    const now = await machine();
    for (const name of ['oldest', 'old', 'newest']) {
      await create(now, name);
      await writeBlock(now, now.held.size, 2);
    }
    now.store.newestLayer.addRule({ operations: [call], nth: 2, latch: true });
    const blocks = Array.from({ length: BLOCKS }, (_, block) => block);
    await Promise.all(blocks.slice(4, 6).map((block) => writeBlock(now, block, 3)));
    await Promise.all(blocks.slice(6).map((block) => writeBlock(now, block, 3)));
    const written = await contentOf(now.base);
    expect(blocks.map((block) => written[block * BLOCK_BYTES])).toEqual([
      ...[1, 2, 2, 2],
      ...blocks.slice(4).map(() => 3),
    ]);
    expect(states(now)).toEqual(['oldest unusable', 'old unusable', 'newest unusable']);
    expect(now.warned.map((line) => line.split(' is ')[0])).toEqual([
      'volume: snapshot oldest',
      'volume: snapshot old',
      'volume: snapshot newest',
    ]);
    expect(now.store.layers.size).toBe(0);

    await create(now, 'later');
    await Promise.all(blocks.map((block) => writeBlock(now, block, 4)));
    await expectGoodOnes(now);
    const again = await reopened(now);
    expect(states(again)).toEqual([...states(now).slice(0, 3), 'later good']);
    await expectGoodOnes(again);
  });
});

it('a layer that cannot be read when it is opened loses what is older, and no newer one', async () => {
  const now = await machine();
  for (const name of ['oldest', 'middle', 'newest']) {
    await create(now, name);
    for (const block of [0, 1, 2]) await writeBlock(now, block, now.held.size + 1);
  }
  const store = new TroubledStore(now.store.memories);
  [...store.layers.values()][1]!.addRule({ operations: ['read'] });
  const again = { ...now, store, ...(await stackSnapshots(now.base, store, now.store.saved)) };
  expect(states(again)).toEqual(['oldest unusable', 'middle unusable', 'newest good']);
  await writeBlock(again, 5, 9);
  await expectGoodOnes(again);
  // Also when it can be read again.
  expect(states(await reopened(again))).toEqual(states(again));
});

describe('a list that cannot be saved while a layer fails', () => {
  it('costs the layers: who opens it finds them unusable, and the write goes through', async () => {
    const now = await machine();
    await create(now, 'one');
    await create(now, 'two');
    now.store.newestLayer.addRule({ operations: ['flush'] });
    now.store.failingSaves = 1;
    await writeBlock(now, 3, 7);
    expect((await contentOf(now.base))[3 * BLOCK_BYTES]).toBe(7);
    expect(now.store.saved).toMatchObject([{ unusable: null }, { unusable: null }]);
    expect(states(now)).toEqual(['one unusable', 'two unusable']);
    const again = await reopened(now);
    expect(states(again)).toEqual(['one unusable', 'two unusable']);
    expect(again.store.saved).toMatchObject([{ layers: [] }, { layers: [] }]);
    await create(again, 'three');
    await writeBlock(again, 3, 8);
    await expectGoodOnes(again);
  });

  it('nor a layer be removed: writes fail, with that, until one of both can be done', async () => {
    const now = await machine();
    await create(now, 'one');
    await writeBlock(now, 0, 2);
    now.store.newestLayer.addRule({ operations: ['flush'] });
    now.store.failingSaves = Number.POSITIVE_INFINITY;
    now.store.failingRemovals = Number.POSITIVE_INFINITY;
    const cannot = { code: 'IO_ERROR', message: expect.stringContaining('the layer cannot be removed') };
    // Also of a block that is kept: nobody knows whether that is durable.
    for (const block of [3, 0, 4]) await expect(writeBlock(now, block, 7)).rejects.toMatchObject(cannot);
    const unchanged = await contentOf(now.base);
    expect([0, 3, 4].map((block) => unchanged[block * BLOCK_BYTES])).toEqual([2, 1, 1]);
    // A process that is killed here leaves what the snapshot held.
    await expectGoodOnes(await reopened(now));

    now.store.failingSaves = 0;
    await Promise.all([3, 0, 4].map((block) => writeBlock(now, block, 7)));
    expect((await contentOf(now.base))[0]).toBe(7);
    expect(states(now)).toEqual(['one unusable']);
    expect(states(await reopened(now))).toEqual(['one unusable']);
  });

  it('and is saved by another change right after says the same as who found it out', async () => {
    const now = await machine();
    for (const name of ['one', 'two', 'three']) await create(now, name);
    await create(now, 'noted', 'mark');
    await writeBlock(now, 0, 2);
    for (const layer of now.store.layers.values()) layer.addRule({ operations: ['flush'] });
    now.store.failingSaves = 1;
    now.store.isRefused = ({ kind, unusable }) => kind === 'snapshot' && unusable !== null;
    // The mark's layer fails beside that of the snapshots, and one of them is deleted.
    await Promise.all([writeBlock(now, 3, 7), now.snapshots.delete('two')]);
    expect(states(now)).toEqual(['one unusable', 'three unusable', 'noted unusable']);
    expect(states(await reopened(now))).toEqual(states(now));
    await now.snapshots.close();
    expect(now.store.saved.every(({ unusable }) => unusable !== null)).toBe(true);
  });
});

it('one that can neither be put on the list for sure, nor taken off it, nor removed, is kept: the list may have it', async () => {
  const now = await machine();
  await create(now, 'one');
  now.store.savesAllTheSame = true;
  now.store.failingSaves = 2;
  now.store.failingRemovals = 2;
  now.held.set('doubtful', await contentOf(now.base));
  await expect(
    now.snapshots.create({ ...GROWING, name: 'doubtful', kind: 'snapshot' }),
  ).rejects.toMatchObject({
    message: 'the list cannot be written',
  });
  await writeBlock(now, 3, 7);
  expect(states(await reopened(now))).toEqual(['one good', 'doubtful good']);
  await expectGoodOnes(await reopened(now));
  expect(states(now)).toEqual(['one good', 'doubtful good']);
  await now.snapshots.delete('doubtful');
  expect(states(await reopened(now))).toEqual(['one good']);
});
