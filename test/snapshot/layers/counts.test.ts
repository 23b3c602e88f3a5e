/** How much was changed since each snapshot: what the maps of what was changed say, without their being put together. */
import { afterEach, expect, it, vi } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { DeviceStore, stackSnapshots } from '../../../src/lab/self/snapshot/kept-snapshots.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { BlockMap } from '../../../src/replication/map/block-map.js';
import type { Snapshots } from '../../../src/snapshot/snapshots.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const BLOCKS = 40;

afterEach(() => vi.restoreAllMocks());

function storeOf(layers: Map<string, MemoryDevice>): DeviceStore<MemoryDevice> {
  return new DeviceStore(
    layers,
    (bytes) => new MemoryDevice(bytes),
    () => {},
  );
}

function expectCounts(snapshots: Snapshots): void {
  for (const { name, kind, state, changedBytes } of snapshots.list()) {
    const expected =
      kind === 'mark' ? null : state === 'good' ? snapshots.changedSince(name).count * BLOCK_BYTES : 0;
    expect([name, changedBytes]).toEqual([name, expected]);
  }
}

it('is exact whatever becomes of them, and when they are opened again', async () => {
  await withSeed(async (random) => {
    for (let round = 0; round < 15; round++) {
      const base = new MemoryDevice(BLOCKS * BLOCK_BYTES);
      await base.write(0, new Uint8Array(base.size).fill(1));
      const store = storeOf(new Map());
      let { snapshots, device } = await stackSnapshots(base, store, []);
      for (let step = 0; step < 40; step++) {
        const names = snapshots.list().map(({ name }) => name);
        if (random.chance(0.15) && names.length > 0) await snapshots.delete(random.pick(names));
        else if (random.chance(0.2)) {
          const kind = random.pick(['snapshot', 'snapshot', 'volatile', 'mark'] as const);
          const isSmall = random.chance(0.2);
          const room = isSmall
            ? { onOverflow: 'drop', layerBytes: 20 * 4608 }
            : { onOverflow: 'grow', layerBytes: null };
          await snapshots.create({
            name: `${step}`,
            kind,
            place: '',
            ...(room as { onOverflow: 'grow'; layerBytes: null }),
          });
        } else if (random.chance(0.1)) {
          await device.flush();
          const kept = store.saved;
          ({ snapshots, device } = await stackSnapshots(base, store, kept));
        } else {
          const from = random.below(BLOCKS - 9);
          await device.write(
            from * BLOCK_BYTES,
            new Uint8Array(random.between(1, 9) * BLOCK_BYTES).fill(step),
          );
        }
        if (random.chance(0.5)) expectCounts(snapshots);
      }
      expectCounts(snapshots);
    }
  });
});

it('costs who asks no look at what was changed, but for the first who asks', async () => {
  const base = new MemoryDevice(BLOCKS * BLOCK_BYTES);
  const { snapshots, device } = await stackSnapshots(base, storeOf(new Map()), []);
  for (const name of ['one', 'two'])
    await snapshots.create({ name, kind: 'snapshot', onOverflow: 'grow', place: '', layerBytes: null });
  snapshots.list();
  const add = vi.spyOn(BlockMap.prototype, 'add');
  await device.write(0, new Uint8Array(BLOCK_BYTES));
  expect(snapshots.list().map(({ changedBytes }) => changedBytes)).toEqual([BLOCK_BYTES, BLOCK_BYTES]);
  expect(add).not.toHaveBeenCalled();
});
