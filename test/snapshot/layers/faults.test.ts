/** What a snapshot does with blocks that cannot be read, and with those who read it. */
import { describe, expect, it } from 'vitest';
import { DeviceError } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { UserError } from '../../../src/errors.js';
import { contentOf, DeviceStore, stackSnapshots } from '../../../src/lab/self/snapshot/kept-snapshots.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { Layer } from '../../../src/snapshot/layers/layer.js';

const BLOCKS = 8;
const GROWING = { kind: 'snapshot', onOverflow: 'grow', place: '', layerBytes: null } as const;

function store(layers = new Map<string, MemoryDevice>()): DeviceStore<MemoryDevice> {
  return new DeviceStore(
    layers,
    (bytes) => new MemoryDevice(bytes),
    () => {},
  );
}

describe('a block that cannot be read when it is overwritten', () => {
  it('is lost to the snapshot, which says so, and the write goes on; all others are as they were', async () => {
    const memory = new MemoryDevice(BLOCKS * BLOCK_BYTES);
    await memory.write(0, new Uint8Array(BLOCKS * BLOCK_BYTES).fill(1));
    let bad: number | null = 2;
    const base = withCalls(memory, {
      read: (offset, into) => {
        const length = Array.isArray(into)
          ? into.reduce((sum, one) => sum + one.length, 0)
          : (into as Uint8Array).length;
        if (bad !== null && offset <= bad * BLOCK_BYTES && offset + length > bad * BLOCK_BYTES)
          return Promise.reject(
            new DeviceError('IO_ERROR', 'a bad block', { device: 'memory', operation: 'read', offset }),
          );
        return memory.read(offset, into);
      },
    });
    const kept = store();
    const { device, snapshots } = await stackSnapshots(base, kept, []);
    await snapshots.create({ name: 'one', ...GROWING });
    await device.write(0, new Uint8Array(5 * BLOCK_BYTES).fill(2));
    bad = null;
    const check = async (view: ReturnType<typeof snapshots.view>) => {
      const block = new Uint8Array(BLOCK_BYTES);
      for (const at of [0, 1, 3, 4, 5, 7]) {
        await view.read(at * BLOCK_BYTES, block);
        expect(block.every((byte) => byte === 1)).toBe(true);
      }
      await expect(view.read(2 * BLOCK_BYTES, block)).rejects.toMatchObject({ code: 'IO_ERROR' });
      await view.close();
    };
    await check(snapshots.view('one'));
    expect((await contentOf(device)).subarray(0, 5 * BLOCK_BYTES).every((byte) => byte === 2)).toBe(true);
    // As it is after a kill.
    const again = await stackSnapshots(base, store(kept.layers), kept.saved);
    await check(again.snapshots.view('one'));
  });
});

describe('a layer whose device fails', () => {
  it('gives what it was to keep, however often it is asked to settle, and never zeroes instead', async () => {
    const keptId = new Uint8Array(16).fill(3);
    const failing = withCalls(new MemoryDevice(64 * BLOCK_BYTES), {
      flush: () => Promise.reject(new UserError('IO_ERROR', 'it cannot be flushed')),
    });
    const layer = Layer.empty(failing, { keptId, sizeBytes: BLOCKS * BLOCK_BYTES });
    for (const block of [3, 1, 5]) {
      await layer.keep({ from: block, count: 1 }, new Uint8Array(BLOCK_BYTES).fill(block));
      await expect(layer.settle()).rejects.toMatchObject({ code: 'IO_ERROR' });
    }
    for (const block of [3, 1, 5]) {
      const into = new Uint8Array(BLOCK_BYTES);
      await layer.read(block, into);
      expect(into.every((byte) => byte === block)).toBe(true);
    }
    expect(layer.groupCount).toBe(0);
  });
});

describe('a snapshot that somebody reads', () => {
  it('is not deleted until he has closed it', async () => {
    const { snapshots } = await stackSnapshots(new MemoryDevice(BLOCKS * BLOCK_BYTES), store(), []);
    await snapshots.create({ name: 'one', ...GROWING });
    const view = snapshots.view('one');
    await expect(snapshots.delete('one')).rejects.toMatchObject({ code: 'IN_USE' });
    await view.close();
    await snapshots.delete('one');
    expect(snapshots.list()).toEqual([]);
  });

  it('and that is lost meanwhile gives nothing that it did not hold, and is deleted when it is served no more', async () => {
    const changes: string[] = [];
    const { device, snapshots } = await stackSnapshots(new MemoryDevice(BLOCKS * BLOCK_BYTES), store(), []);
    let served: ReturnType<typeof snapshots.view> | null = null;
    snapshots.listen(async (name, change) => {
      changes.push(`${name} ${change}`);
      if (change === 'made') served = snapshots.view(name);
      else await served?.close();
    });
    await snapshots.create({ name: 'one', ...GROWING, onOverflow: 'drop', layerBytes: 2 * BLOCK_BYTES });
    await device.write(0, new Uint8Array(4 * BLOCK_BYTES).fill(3));
    expect(snapshots.list()).toMatchObject([{ state: 'unusable' }]);
    await expect(served!.read(0, new Uint8Array(BLOCK_BYTES))).rejects.toMatchObject({
      code: 'METADATA_DAMAGED',
    });
    await snapshots.delete('one');
    expect(changes).toEqual(['one made', 'one removed']);
  });
});

describe('who serves snapshots', () => {
  it('and refuses one has it taken off the list again', async () => {
    const kept = store();
    const { device, snapshots } = await stackSnapshots(new MemoryDevice(BLOCKS * BLOCK_BYTES), kept, []);
    snapshots.listen(() => Promise.reject(new UserError('FILE_EXISTS', 'the name is taken')));
    await expect(snapshots.create({ name: 'one', ...GROWING })).rejects.toMatchObject({
      code: 'FILE_EXISTS',
    });
    expect(snapshots.list()).toEqual([]);
    expect(kept.saved).toEqual([]);
    await device.write(0, new Uint8Array(BLOCK_BYTES).fill(1));
    expect(kept.layers.size).toBe(0);
  });

  it('has one back that could not be taken off the list', async () => {
    const kept = store();
    const { snapshots } = await stackSnapshots(new MemoryDevice(BLOCKS * BLOCK_BYTES), kept, []);
    const changes: string[] = [];
    snapshots.listen(async (name, change) => void changes.push(`${name} ${change}`));
    await snapshots.create({ name: 'one', ...GROWING });
    const save = kept.save.bind(kept);
    kept.save = () => Promise.reject(new UserError('NO_SPACE', 'no room for the list'));
    await expect(snapshots.delete('one')).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(changes).toEqual(['one made', 'one removed', 'one made']);
    kept.save = save;
    await snapshots.delete('one');
    expect(snapshots.list()).toEqual([]);
  });
});

describe('a container that is full, and writes are to fail', () => {
  it('refuses those to what is not kept, and no others', async () => {
    const memory = new MemoryDevice(BLOCKS * BLOCK_BYTES);
    await memory.write(0, new Uint8Array(BLOCKS * BLOCK_BYTES).fill(9));
    const { device, snapshots } = await stackSnapshots(memory, store(), []);
    const layerBytes = 2 * (BLOCK_BYTES + 512);
    await snapshots.create({ name: 'one', ...GROWING, onOverflow: 'fail', layerBytes });
    const block = new Uint8Array(BLOCK_BYTES).fill(1);
    await device.write(0, block);
    await device.write(BLOCK_BYTES, block);
    await expect(device.write(7 * BLOCK_BYTES, block)).rejects.toMatchObject({ code: 'NO_SPACE' });
    await device.write(0, block);
    expect(snapshots.list()).toMatchObject([{ state: 'good' }]);
  });
});
