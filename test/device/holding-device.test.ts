/** A device that holds changes back: as a device, and what waits for what. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { HoldingDevice } from '../../src/device/holding-device.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { describeBlockDevice, SMALLEST_SIZE } from '../conformance/block-device.js';
import { FaultyBatchDevice } from '../support/devices/faulty-device.js';
import { HeldDevice } from '../support/devices/held-device.js';

describeBlockDevice('HoldingDevice', {
  make: async () => {
    const lower = new FaultyBatchDevice(new MemoryDevice(SMALLEST_SIZE), { seed: 3, maxDelayTurns: 3 });
    const device = new HoldingDevice(lower);
    return { device, cleanup: () => device.close() };
  },
  supports: { holes: true },
});

const BLOCK = new Uint8Array(512).fill(7);

async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await setImmediate();
}

describe('changes that are held', () => {
  it.each([
    ['write', (device: HoldingDevice) => device.write(0, BLOCK)],
    ['write', (device: HoldingDevice) => device.writeBatch([{ offset: 0, from: BLOCK }])],
    ['write-zeroes', (device: HoldingDevice) => device.writeZeroes(0, 512)],
    ['trim', (device: HoldingDevice) => device.trim(0, 512)],
  ] as const)('%s: those under way end first, those that come wait', async (kind, change) => {
    const lower = new HeldDevice(new MemoryDevice(4096));
    const device = new HoldingDevice(lower);
    lower.hold(kind);
    const first = change(device);
    await lower.arrived(1);
    let isHeld = false;
    let release!: () => void;
    const held = device.held(async () => {
      isHeld = true;
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    });
    const second = change(device);
    await turns();
    expect([isHeld, lower.waiting]).toEqual([false, 1]);
    lower.letIn(0);
    await first;
    await turns();
    expect([isHeld, lower.waiting]).toEqual([true, 0]);
    // Reads and flushes change nothing.
    await device.read(0, new Uint8Array(512));
    await device.flush();
    release();
    await held;
    await lower.arrived(1);
    lower.release(kind);
    await second;
  });

  it('go on where what was done meanwhile has failed', async () => {
    const device = new HoldingDevice(new MemoryDevice(4096));
    await expect(device.held(() => Promise.reject(new Error('it failed')))).rejects.toThrow('it failed');
    await device.write(0, BLOCK);
  });

  it('are held for one at a time', async () => {
    const device = new HoldingDevice(new MemoryDevice(4096));
    const order: string[] = [];
    const hold = (name: string) =>
      device.held(async () => {
        order.push(`${name} begins`);
        await turns();
        order.push(`${name} ends`);
      });
    await Promise.all([hold('a'), hold('b')]);
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  });
});
