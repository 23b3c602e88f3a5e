/** A state in two slots: at no moment are both in doubt, and when it is answered none is. */
import { expect, it } from 'vitest';
import type { Buffers } from '../../../src/device/contract.js';
import { create, memoryParts } from '../../../src/lab/self/replication/secondary-parts.js';
import { MarksFile } from '../../../src/replication/secondary/marks.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';

const SIZES = { imageBytes: 64 * 1024, logBytes: 8192 + 64 * 1024 };

it.each(['marks', 'epochs'] as const)(
  'of %s, one slot is durable when the other is written',
  async (part) => {
    const device = new VolatileDevice(SIZES.logBytes, { name: part });
    const inDoubt: number[] = [];
    const write = device.write.bind(device);
    device.write = (offset: number, from: Buffers) => {
      inDoubt.push(device.volatileSectors);
      return write(offset, from);
    };
    const parts = { ...memoryParts(SIZES), [part]: device };
    await create(parts, SIZES.imageBytes);
    expect(device.volatileSectors).toBe(0);
    if (part === 'marks') await (await MarksFile.open(device)).change({ isForced: true });
    expect(device.volatileSectors).toBe(0);
    expect(inDoubt).toEqual(part === 'marks' ? [0, 0, 0, 0] : [0, 0]);
  },
);
