import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CountingDevice, countedCalls, DeviceTally, measured } from '../../src/bench/counting-device.js';
import { ImageFile } from '../../src/device/image-file.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { describeBlockDevice, SMALLEST_SIZE } from '../conformance/block-device.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();

const NONE = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0, flushes: 0, fuaWrites: 0 };

describeBlockDevice('a device that counts', {
  make: async () => {
    const device = new CountingDevice(new MemoryDevice(SMALLEST_SIZE), new DeviceTally());
    return { device, cleanup: () => device.close() };
  },
  supports: { holes: true },
});

describe('what is counted', () => {
  test('is every call and every byte, of all devices of a tally, once', async () => {
    const tally = new DeviceTally();
    const [one, other] = [0, 1].map(() => new CountingDevice(new MemoryDevice(65536), tally));
    await one!.read(0, new Uint8Array(4096));
    await other!.read(512, [new Uint8Array(512), new Uint8Array(1024)]);
    await one!.write(0, new Uint8Array(512));
    await other!.write(0, new Uint8Array(1024), { fua: true });
    await other!.writeZeroes(4096, 8192);
    await one!.trim(0, 4096);
    await one!.flush();
    const counts = { reads: 2, readBytes: 5632, writes: 3, writtenBytes: 9728, flushes: 1, fuaWrites: 1 };
    expect(tally.take()).toEqual(counts);
    expect(tally.take()).toEqual(NONE);
  });

  test('is, of a file, what came to it: a flush of nothing does not', async () => {
    const tally = new DeviceTally();
    const path = join(folder, 'image');
    const calls = countedCalls(tally);
    const device = await ImageFile.open(path, { readOnly: false, create: { size: 65536 }, calls });
    await device.flush();
    await device.flush();
    await device.write(0, new Uint8Array(512));
    await device.flush();
    await device.close();
    expect(tally.take()).toEqual({ ...NONE, fileSyncs: 2 });
  });

  test('is a copy of the record where it is durable and lies where records do', async () => {
    const tally = new DeviceTally();
    const device = new CountingDevice(new MemoryDevice(65536), tally, (offset) => offset >= 4096);
    await device.write(0, new Uint8Array(512), { fua: true });
    await device.write(4096, new Uint8Array(512));
    await device.write(8192, new Uint8Array(512), { fua: true });
    expect(tally.take()).toEqual({ ...NONE, writes: 3, writtenBytes: 1536, fuaWrites: 2, recordCopies: 1 });
  });

  test('is of the measured work alone', async () => {
    const tally = new DeviceTally();
    tally.flush();
    const { counts, seconds } = await measured(tally, async () => tally.read(512));
    tally.flush();
    expect(counts).toEqual({ ...NONE, reads: 1, readBytes: 512 });
    expect(seconds).toBeGreaterThan(0);
  });
});
