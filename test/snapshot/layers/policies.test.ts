/** A container that fills up: what it was asked to do then. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { HandClock } from '../../../src/lab/self/replication/hand-clock.js';
import {
  contentOf,
  DeviceStore,
  type StackedSnapshots,
  stackSnapshots,
} from '../../../src/lab/self/snapshot/kept-snapshots.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { GateDevice } from '../../../src/snapshot/gate.js';
import { Chain } from '../../../src/snapshot/layers/chain.js';
import { Layer } from '../../../src/snapshot/layers/layer.js';
import type { NewMoment } from '../../../src/snapshot/moment.js';
import { shuffled, withSeed } from '../../support/devices/seeded-random.js';
import { expectMoments } from '../../support/snapshot/expect-moments.js';

const BLOCKS = 24;
/** Of a block that is kept by itself. */
const SINGLE_BYTES = BLOCK_BYTES + 512;
const turns = async () => {
  for (let left = 10; left > 0; left--) await new Promise(setImmediate);
};

interface Machine extends StackedSnapshots {
  readonly base: MemoryDevice;
  readonly store: DeviceStore<MemoryDevice>;
  readonly held: Map<string, Uint8Array>;
}

async function machine(): Promise<Machine> {
  // The last block is short.
  const base = new MemoryDevice(BLOCKS * BLOCK_BYTES - 512);
  await base.write(0, new Uint8Array(base.size).fill(1));
  const store = storeOf(new Map());
  return { ...(await stackSnapshots(base, store, [])), base, store, held: new Map() };
}

function storeOf(layers: Map<string, MemoryDevice>): DeviceStore<MemoryDevice> {
  return new DeviceStore(
    layers,
    (bytes) => new MemoryDevice(bytes),
    () => {},
  );
}

async function create(
  { snapshots, base, held }: Machine,
  name: string,
  onOverflow: NewMoment['onOverflow'],
  blocks: number | null,
): Promise<void> {
  const layerBytes = blocks === null ? null : blocks * SINGLE_BYTES;
  await snapshots.create({ name, kind: 'snapshot', place: '', onOverflow, layerBytes });
  held.set(name, await contentOf(base));
}

function writeBlock({ device }: Pick<StackedSnapshots, 'device'>, block: number, value: number) {
  const offset = block * BLOCK_BYTES;
  return device.write(offset, new Uint8Array(Math.min(BLOCK_BYTES, device.size - offset)).fill(value));
}

const states = ({ snapshots }: Machine) => snapshots.list().map(({ name, state }) => `${name} ${state}`);

describe.each(['drop', 'throttle'] as const)('%s', (onOverflow) => {
  it('gives the newest up; an older one that has room goes on, and has what was kept so far', async () => {
    const now = await machine();
    await create(now, 'older', 'grow', null);
    await writeBlock(now, 0, 2);
    await create(now, 'newest', onOverflow, 3);
    await Promise.all([0, 1, 2, 3, 4, 5].map((block) => writeBlock(now, block, 3)));
    await now.device.write(6 * BLOCK_BYTES, new Uint8Array(5 * BLOCK_BYTES).fill(4));
    expect(states(now)).toEqual(['older good', 'newest unusable']);
    const written = await contentOf(now.base);
    expect([0, 5, 6, 10, 11].map((block) => written[block * BLOCK_BYTES])).toEqual([3, 3, 4, 4, 1]);
    await now.snapshots.delete('newest');
    await expectMoments(now.snapshots, now.held);
    const again = await stackSnapshots(now.base, storeOf(now.store.layers), now.store.saved);
    await expectMoments(again.snapshots, now.held);
  });
});

describe('throttle', () => {
  it('slows writers down from half full on, the fuller the longer, and gives it up when it is full', async () => {
    const base = new MemoryDevice(BLOCKS * BLOCK_BYTES);
    await base.write(0, new Uint8Array(base.size).fill(1));
    const clock = new HandClock();
    const lost: string[] = [];
    const gate = new GateDevice(base);
    const chain = new Chain({
      ...{ label: 'volume', sizeBytes: base.size, keepsContent: true, clock },
      async onLost(ids) {
        lost.push(...ids);
        return ids;
      },
      onUnneeded: async () => {},
    });
    const room = 8;
    const options = { keptId: new Uint8Array(16).fill(7), sizeBytes: base.size };
    const layer = Layer.empty(new MemoryDevice(room * SINGLE_BYTES), options);
    chain.push({ id: 'one', onOverflow: 'throttle', layers: [layer] });
    gate.add(chain);
    for (let block = 0; block < room; block++) {
      let isDone = false;
      const write = writeBlock({ device: gate as never }, block, 2).then(() => {
        isDone = true;
      });
      await turns();
      const waitMs = Math.max(0, ((block + 1) / room - 0.5) * 40);
      expect([block, isDone]).toEqual([block, waitMs === 0]);
      clock.advance(Math.max(0, waitMs - 1));
      await turns();
      expect([block, isDone]).toEqual([block, waitMs === 0]);
      clock.advance(1);
      await write;
      // What is kept needs no wait.
      await writeBlock({ device: gate as never }, block, 3);
    }
    expect(lost).toEqual([]);
    await writeBlock({ device: gate as never }, room, 2);
    expect(lost).toEqual(['one']);
  });
});

describe('fail', () => {
  it('fails who changes what is not kept, however he does; with the snapshot gone all goes on', async () => {
    const now = await machine();
    await create(now, 'one', 'fail', 2);
    for (const block of [0, 9]) await writeBlock(now, block, 2);
    const { device } = now;
    const full = { code: 'NO_SPACE', message: expect.stringContaining('snapshot') };
    await expect(writeBlock(now, 5, 3)).rejects.toMatchObject(full);
    await expect(device.write(8 * BLOCK_BYTES, new Uint8Array(2 * BLOCK_BYTES))).rejects.toMatchObject(full);
    await expect(device.trim(5 * BLOCK_BYTES, BLOCK_BYTES)).rejects.toMatchObject(full);
    await expect(device.writeZeroes(5 * BLOCK_BYTES, BLOCK_BYTES)).rejects.toMatchObject(full);
    await Promise.all([0, 9].map((block) => writeBlock(now, block, 4)));
    await device.flush();
    await expectMoments(now.snapshots, now.held);
    expect((await contentOf(now.base))[8 * BLOCK_BYTES]).toBe(1);
    await now.snapshots.delete('one');
    await writeBlock(now, 5, 3);
    expect((await contentOf(now.base))[5 * BLOCK_BYTES]).toBe(3);
  });
});

describe('grow', () => {
  it('keeps all of the volume, block by block, of whichever snapshot', async () => {
    await withSeed(async (random) => {
      const now = await machine();
      for (let round = 1; round <= 4; round++) {
        await create(now, `snapshot ${round}`, 'grow', null);
        const blocks = shuffled(
          Array.from({ length: BLOCKS }, (_, block) => block),
          random,
        );
        for (const block of blocks) await writeBlock(now, block, 10 * round + random.below(2));
        await expectMoments(now.snapshots, now.held);
        const again = await stackSnapshots(now.base, storeOf(now.store.layers), now.store.saved);
        await expectMoments(again.snapshots, now.held);
      }
    });
  });
});
