/** Snapshots that are made, deleted and read at one time, amid writes. */
import { expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import {
  DeviceStore,
  firstDifference,
  type StackedSnapshots,
  stackSnapshots,
} from '../../../src/lab/self/snapshot/kept-snapshots.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { type SeededRandom, shuffled, withSeed } from '../../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../../support/devices/volatile-device.js';
import { expectMoments } from '../../support/snapshot/expect-moments.js';

const BLOCKS = 30;

interface Machine extends StackedSnapshots {
  readonly base: VolatileDevice;
  readonly store: DeviceStore<MemoryDevice>;
  readonly held: Map<string, Uint8Array>;
}

/** Everything takes its time. */
async function machine(random: SeededRandom): Promise<Machine> {
  const slow = { power: new PowerSupply(), seed: random.below(2 ** 31), maxDelayTurns: 3 };
  const base = new VolatileDevice(BLOCKS * BLOCK_BYTES - 1024, slow);
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

function create({ snapshots, base, held }: Machine, name: string): Promise<unknown> {
  const asked = { name, kind: 'snapshot', onOverflow: 'grow', place: '', layerBytes: null } as const;
  return snapshots.create(asked, () => {
    const content = new Uint8Array(base.size);
    base.peek(content);
    held.set(name, content);
  });
}

async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left--) await new Promise(setImmediate);
}

/** Until it is told to end: here and there, each time something else. */
function writing({ device }: Machine, random: SeededRandom): { end(): Promise<void> } {
  let isWanted = true;
  const ended = (async () => {
    for (let version = 2; isWanted; version++) {
      const offset = random.below((BLOCKS - 4) * 8) * 512;
      if (random.chance(0.1)) await device.trim(offset, 2 * BLOCK_BYTES);
      else await device.write(offset, new Uint8Array(random.between(1, 24) * 512).fill(version % 251));
      if (random.chance(0.1)) await device.flush();
      await new Promise(setImmediate);
    }
  })();
  return {
    end() {
      isWanted = false;
      return ended;
    },
  };
}

async function expectAllSound(now: Machine): Promise<void> {
  await expectMoments(now.snapshots, now.held);
  const again = await stackSnapshots(now.base, storeOf(now.store.layers), now.store.saved);
  expect(again.snapshots.list().map(({ name }) => name)).toEqual(
    now.snapshots.list().map(({ name }) => name),
  );
  await expectMoments(again.snapshots, now.held);
}

it('an older one is read right while newer ones are deleted', async () => {
  await withSeed(async (random) => {
    let reads = 0;
    for (let round = 0; round < 10; round++) {
      const now = await machine(random);
      const writer = writing(now, random);
      const newer = Array.from({ length: 6 }, (_, number) => `newer ${number}`);
      for (const name of ['oldest', 'older', ...newer]) {
        await create(now, name);
        await turns(random.below(20));
      }
      let isOver = false;
      const reading = async (name: string) => {
        const view = now.snapshots.view(name);
        const held = now.held.get(name)!;
        for (; !isOver; reads++) {
          const offset = random.below(BLOCKS * 8 - 2) * 512;
          const piece = new Uint8Array(Math.min(random.between(1, 40) * 512, held.length - offset));
          await view.read(offset, piece);
          const at = firstDifference(piece, held.subarray(offset, offset + piece.length));
          expect(`${name}: ${at}, from ${offset} on`).toBe(`${name}: -1, from ${offset} on`);
        }
        await view.close();
      };
      const readers = ['oldest', 'older', 'older'].map(reading);
      for (const name of shuffled(newer, random)) {
        await now.snapshots.delete(name);
        await turns(random.between(1, 6));
      }
      isOver = true;
      await Promise.all([...readers, writer.end()]);
      expect(now.snapshots.list().map(({ name }) => name)).toEqual(['oldest', 'older']);
      await expectAllSound(now);
    }
    // Amid the deletes.
    expect(reads).toBeGreaterThan(100);
  });
});

it('two that are made at once are two moments, one after the other; of one name there is one', async () => {
  await withSeed(async (random) => {
    const now = await machine(random);
    const writer = writing(now, random);
    await Promise.all([create(now, 'one'), create(now, 'two')]);
    const same = await Promise.allSettled([create(now, 'same'), create(now, 'same')]);
    expect(same).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { code: 'FILE_EXISTS' } },
    ]);
    await writer.end();
    expect(now.snapshots.list().map(({ name }) => name)).toEqual(['one', 'two', 'same']);
    await expectAllSound(now);
  });
});

it('some that are made and deleted at once leave what was asked for', async () => {
  await withSeed(async (random) => {
    const now = await machine(random);
    const writer = writing(now, random);
    for (const name of ['a', 'b', 'c', 'd']) await create(now, name);
    await Promise.all([
      now.snapshots.delete('b'),
      create(now, 'e'),
      now.snapshots.delete('d'),
      // Made a line above: it is there when it is its turn.
      now.snapshots.delete('e'),
      create(now, 'f'),
    ]);
    const twice = await Promise.allSettled([now.snapshots.delete('a'), now.snapshots.delete('a')]);
    expect(twice).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { code: 'FILE_NOT_FOUND' } },
    ]);
    await writer.end();
    expect(now.snapshots.list().map(({ name }) => name)).toEqual(['c', 'f']);
    await expectAllSound(now);
    await Promise.all(['c', 'f'].map((name) => now.snapshots.delete(name)));
    expect(now.store.layers.size).toBe(0);
  });
});
