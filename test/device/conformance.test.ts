/** The conformance suite over the leaves, and over the devices that the other tests are built with. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClaimingDevice } from '../../src/device/claiming-device.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { systemCalls } from '../../src/device/file-calls.js';
import { ImageFile } from '../../src/device/image-file.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { OverlayDevice } from '../../src/device/overlay.js';
import { PartDevice } from '../../src/device/part-device.js';
import { describeBlockDevice, pattern, SMALLEST_SIZE, type Subject } from '../conformance/block-device.js';
import { FaultyBatchDevice, FaultyDevice } from '../support/devices/faulty-device.js';
import { Promptly } from '../support/devices/promptly.js';
import { VolatileDevice } from '../support/devices/volatile-device.js';

const SIZE = SMALLEST_SIZE + 64 * 1024;

async function imageFile(takesBytes = false, isPrompt = false): Promise<Subject> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-device-'));
  const path = join(directory, 'image');
  let flushFails = false;
  const calls = {
    ...systemCalls,
    async fdatasync(fd: number) {
      if (flushFails) {
        flushFails = false;
        throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
      }
      await systemCalls.fdatasync(fd);
    },
  };
  const first = await ImageFile.open(path, { readOnly: false, create: { size: SIZE }, calls });
  if (takesBytes) first.takeBytes();
  const asked = (image: ImageFile): BlockDevice => (isPrompt ? new Promptly(image) : image);
  let device: BlockDevice = first;
  const reopen = async (readOnly: boolean) => {
    await device.close();
    const again = await ImageFile.open(path, { readOnly });
    if (takesBytes) again.takeBytes();
    device = asked(again);
    return device;
  };
  return {
    device: asked(first),
    reopen: () => reopen(false),
    reopenReadOnly: () => reopen(true),
    failNextFlush: () => {
      flushFails = true;
    },
    async cleanup() {
      await device.close();
      await rm(directory, { recursive: true });
    },
  };
}

function subjectOf(device: BlockDevice): Subject {
  return { device, cleanup: () => device.close() };
}

describeBlockDevice('ImageFile', {
  make: () => imageFile(),
  supports: { holes: true, durability: true, readOnly: true, failingFlush: true },
});

describeBlockDevice('ImageFile, to the byte', {
  make: () => imageFile(true),
  supports: { holes: true, durability: true, readOnly: true, failingFlush: true },
});

describeBlockDevice('ImageFile, by prompt calls', {
  make: () => imageFile(true, true),
  supports: { holes: true, durability: true, readOnly: true, failingFlush: true },
});

describeBlockDevice('MemoryDevice', {
  make: async () => subjectOf(new MemoryDevice(SIZE)),
  supports: { holes: true },
});

describeBlockDevice('MemoryDevice with blocks of 1 byte', {
  make: async () => subjectOf(new MemoryDevice(SIZE, { blockSize: 1 })),
  supports: { holes: true },
});

describeBlockDevice('MemoryDevice with blocks of 4096 bytes', {
  make: async () => subjectOf(new MemoryDevice(SIZE, { blockSize: 4096 })),
  supports: { holes: true },
});

describeBlockDevice('ClaimingDevice without claims', {
  make: async () => subjectOf(new ClaimingDevice(new MemoryDevice(SIZE))),
  supports: { holes: true },
});

describeBlockDevice('PartDevice', {
  make: async () =>
    subjectOf(new PartDevice(new MemoryDevice(2 * SIZE), { name: 'part', offset: SIZE / 2, length: SIZE })),
  supports: { holes: true },
});

describeBlockDevice('OverlayDevice over nothing', {
  make: async () => subjectOf(new OverlayDevice(new MemoryDevice(SIZE))),
  supports: { holes: true },
});

describeBlockDevice('OverlayDevice over a device that is full of data', {
  make: async () => {
    const base = new MemoryDevice(SIZE);
    await base.write(0, pattern(SIZE, 77));
    return subjectOf(new OverlayDevice(new FaultyDevice(base, { seed: 3, maxDelayTurns: 3 })));
  },
  supports: { holes: true },
});

describeBlockDevice('FaultyDevice without faults', {
  make: async () => {
    const device = new FaultyBatchDevice(new MemoryDevice(SIZE), { seed: 5, maxDelayTurns: 4 });
    return {
      ...subjectOf(device),
      failNextFlush: () => void device.addRule({ operations: ['flush'], nth: 1 }),
    };
  },
  supports: { holes: true, failingFlush: true },
});

describeBlockDevice('VolatileDevice, reopened after a power cut that leaves the least', {
  make: async () => {
    const device = new VolatileDevice(SIZE, { seed: 7, maxDelayTurns: 4 });
    return { ...subjectOf(device), reopen: async () => device.cutPower(1, 'none') };
  },
  supports: { holes: true, durability: true },
});
