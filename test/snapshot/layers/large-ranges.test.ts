/** Trims and zeroing of large ranges of a volume with snapshots: what they cost, and that what was there is kept. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import {
  contentOf,
  DeviceStore,
  firstDifference,
  stackSnapshots,
} from '../../../src/lab/self/snapshot/kept-snapshots.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { expectMoments } from '../../support/snapshot/expect-moments.js';

const MIB = 1024 * 1024;
const SIZE = 48 * MIB + 512;

function storeOf(layers = new Map<string, FaultyDevice>()): DeviceStore<FaultyDevice> {
  return new DeviceStore(
    layers,
    (bytes) => new FaultyDevice(new MemoryDevice(bytes)),
    () => {},
  );
}

async function machine(onOverflow: 'grow' | 'drop' = 'grow', layerBytes: number | null = null) {
  const memory = new MemoryDevice(SIZE);
  const base = new FaultyDevice(memory);
  const store = storeOf();
  const stack = await stackSnapshots(base, store, []);
  const create = async (name: string) => {
    await stack.snapshots.create({ name, kind: 'snapshot', onOverflow, place: '', layerBytes });
    return [...store.layers.values()].at(-1)!;
  };
  return { ...stack, memory, base, store, create };
}

describe.each(['trim', 'writeZeroes'] as const)('%s of a large range', (call) => {
  it('reads no holes, and waits for the layer once for as much as is gathered', async () => {
    const { base, device, memory, snapshots, store, create } = await machine();
    for (const at of [3, 4, 30]) await memory.write(at * MIB, new Uint8Array(512 * 1024 + 512).fill(at));
    const held = await contentOf(memory);
    const layer = await create('one');
    const [{ readBytes }, { flushes }] = [base.counts, layer.counts];
    await device[call](512, SIZE - 1024);
    expect(layer.counts.flushes - flushes).toBe(1);
    expect(base.counts.readBytes - readBytes).toBeLessThan(2 * MIB);
    expect((await contentOf(memory)).subarray(512, SIZE - 512).every((byte) => byte === 0)).toBe(true);
    await expectMoments(snapshots, new Map([['one', held]]));
    const again = await stackSnapshots(base, storeOf(store.layers), store.saved);
    await expectMoments(again.snapshots, new Map([['one', held]]));
    // All of it is kept: whatever is written there later is not.
    const changed = snapshots.list()[0]!.changedBytes!;
    await device.write(10 * MIB, new Uint8Array(MIB).fill(9));
    expect(snapshots.list()[0]!.changedBytes).toBe(changed);
    await expectMoments(snapshots, new Map([['one', held]]));
  });

  it('keeps what has content in rounds of 8 MiB', async () => {
    const { device, memory, snapshots, create } = await machine();
    await memory.write(0, new Uint8Array(40 * MIB).fill(5));
    const held = await contentOf(memory);
    const layer = await create('one');
    await device[call](0, SIZE);
    expect(layer.counts.flushes).toBeLessThanOrEqual(6);
    await expectMoments(snapshots, new Map([['one', held]]));
  });

  it('is done also where nobody can tell what the range consists of', async () => {
    const { base, device, memory, snapshots, create } = await machine();
    await memory.write(7 * MIB, new Uint8Array(20 * MIB).fill(5));
    const held = await contentOf(memory);
    await create('one');
    base.addRule({ operations: ['extents'] });
    await device[call](0, SIZE);
    base.clearRules();
    await expectMoments(snapshots, new Map([['one', held]]));
  });

  it('costs a small container nothing where nothing was', async () => {
    const { device, memory, snapshots, create } = await machine('drop', 16 * 4608);
    await memory.write(20 * MIB, new Uint8Array(8 * BLOCK_BYTES).fill(5));
    const held = await contentOf(memory);
    await create('one');
    await device[call](0, SIZE);
    await expectMoments(snapshots, new Map([['one', held]]));
  });
});

it('ranges of any length amid writes leave each snapshot as it was', async () => {
  await withSeed(async (random) => {
    const { device, memory, snapshots, store, base, create } = await machine();
    const held = new Map<string, Uint8Array>();
    for (let round = 0; round < 4; round++) {
      for (let step = 0; step < 8; step++) {
        const offset = random.below(SIZE / 512) * 512;
        const length = Math.min(SIZE - offset, random.between(1, random.chance(0.5) ? 40_000 : 400) * 512);
        const kind = random.pick(['trim', 'writeZeroes', 'write'] as const);
        const large = random.bytes(Math.min(length, 4 * MIB));
        const small = { at: random.below(SIZE / 512 - 64) * 512, content: random.bytes(64 * 512) };
        await Promise.all([
          kind === 'write' ? device.write(offset, large) : device[kind](offset, length),
          random.chance(0.5) ? device.write(small.at, small.content) : null,
        ]);
      }
      held.set(`${round}`, await contentOf(memory));
      await create(`${round}`);
    }
    await device.trim(0, SIZE);
    expect(firstDifference(await contentOf(memory), new Uint8Array(SIZE))).toBe(-1);
    await expectMoments(snapshots, held);
    const again = await stackSnapshots(base, storeOf(store.layers), store.saved);
    await expectMoments(again.snapshots, held);
  });
});
