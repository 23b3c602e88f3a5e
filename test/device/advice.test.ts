/** Advice of what is written soon goes through every layer of a volume to whoever understands it, and is lost where nobody does. */
import { describe, expect, it } from 'vitest';
import { adviseWrite } from '../../src/device/advice.js';
import type { AdvisedDevice, BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { SwitchingDevice } from '../../src/device/switching-device.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { cached } from '../../src/volume/stack.js';
import { ReplicationStage } from '../replication/support/stage.js';

const SIZE = 1024 * 1024;

/** Keeps what it is told. */
class Advised extends MemoryDevice implements AdvisedDevice {
  readonly told: (readonly [number, number])[] = [];

  willWrite(offset: number, length: number): void {
    this.told.push([offset, length]);
  }
}

describe('advice', () => {
  it('is given to who takes it, and to nobody else', () => {
    const advised = new Advised(SIZE);
    adviseWrite(advised, 512, 1024);
    expect(advised.told).toEqual([[512, 1024]]);
    adviseWrite(new MemoryDevice(SIZE), 512, 1024);
  });

  it('goes through a cache to what is below, to the byte', async () => {
    const advised = new Advised(SIZE);
    const cache = cached(advised, 65536, { capacityBytes: SIZE });
    adviseWrite(cache, 513, 1025);
    expect(advised.told).toEqual([[513, 1025]]);
    await cache.close();
    const plain = cached(new MemoryDevice(SIZE), 65536, { capacityBytes: SIZE });
    adviseWrite(plain, 0, SIZE);
    await plain.close();
  });

  it('goes to where calls go, before a switch and after it', async () => {
    const [lower, upper] = [new Advised(SIZE), new Advised(SIZE)];
    const device = new SwitchingDevice(lower);
    adviseWrite(device, 0, 512);
    await device.switchTo(upper);
    adviseWrite(device, 512, 512);
    expect([lower.told, upper.told]).toEqual([[[0, 512]], [[512, 512]]]);
    adviseWrite(new SwitchingDevice(new MemoryDevice(SIZE)), 0, 512);
  });

  it('goes to the primary, and is no change that a secondary hears of', async () => {
    const stage = await ReplicationStage.makeInSync({});
    const told: (readonly [number, number])[] = [];
    const advised: BlockDevice = Object.assign(stage.primary, {
      willWrite: (offset: number, length: number) => void told.push([offset, length]),
    });
    adviseWrite(stage.device, BLOCK_BYTES, 512);
    expect([advised.name, told]).toEqual([stage.primary.name, [[BLOCK_BYTES, 512]]]);
    expect(stage.replica.dirtyBlocks).toBe(0);
    await stage.replication.close();
  });
});
