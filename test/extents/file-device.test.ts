/** A file is a block device, of any byte; and its flush is a commit of all that came before it. */
import { describe, expect, it } from 'vitest';
import { FileDevice } from '../../src/extents/index.js';
import { describeBlockDevice, SMALLEST_SIZE } from '../conformance/block-device.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { filled, Stage, type StageOptions } from './support/stage.js';

const STAGE: StageOptions = { blockBytes: 4096, blocks: 16, extents: 80 };

describeBlockDevice('a file on extents', {
  make: async () => {
    let faulty!: FaultyDevice;
    const wrap = (device: ConstructorParameters<typeof FaultyDevice>[0]) => {
      faulty = new FaultyDevice(device);
      return faulty;
    };
    const stage = await Stage.make({ ...STAGE, wrap });
    const { store, file } = await stage.openWithFile(SMALLEST_SIZE + 12_345);
    const reopen = async (access: 'read' | 'write') => {
      await stage.crash(1, 'none');
      return new FileDevice(await (await stage.open()).openFile('disk', { access }));
    };
    return {
      device: new FileDevice(file),
      cleanup: async () => {
        expect(faulty.overlaps).toEqual([]);
        // What has failed does not keep the rest from being closed.
        await store.close().catch(() => {});
      },
      reopen: () => reopen('write'),
      reopenReadOnly: () => reopen('read'),
      failNextFlush: () => {
        // Neither what is buffered nor another journal extent helps: it fails for good.
        faulty.addRule({ operations: ['flush'], latch: true });
      },
    };
  },
  supports: { holes: true, durability: true, readOnly: true, failingFlush: true },
});

describe('a file as a device', () => {
  it('takes what was written before along with a write with fua, and nothing of what comes later', async () => {
    const stage = await Stage.make(STAGE);
    const { file } = await stage.openWithFile(1000);
    const device = new FileDevice(file);
    await device.write(10, filled(10, 1));
    await device.write(100, filled(10, 2), { fua: true });
    await device.write(200, filled(10, 3));
    await stage.crash(1, 'all');
    const again = await (await stage.open()).openFile('disk', { access: 'read' });
    const found = new Uint8Array(1000);
    await again.read(0, found);
    expect([found[10], found[100], found[200]]).toEqual([1, 2, 0]);
  });

  it('has as many bytes as the file, whatever that is', async () => {
    const stage = await Stage.make(STAGE);
    const { file } = await stage.openWithFile(1001);
    const device = new FileDevice(file);
    expect([device.size, device.blockSize, device.readOnly]).toEqual([1001, 1, false]);
    await expect(device.write(1000, filled(2, 1))).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
  });
});
