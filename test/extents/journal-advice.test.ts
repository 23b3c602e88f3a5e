/** What devices are told of journal extents: those that are taken next, in ranges, before they are written. */
import { describe, expect, it } from 'vitest';
import { byteLength } from '../../src/device/buffers.js';
import type { AdvisedDevice, BlockDevice, Buffers, WriteOptions } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { RangeSet } from '../../src/device/range-set.js';
import { JournalAdvice } from '../../src/extents/journal-advice.js';
import { JournalReserve } from '../../src/extents/journal-reserve.js';
import { Session } from '../../src/extents/session.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { EXTENT_BYTES, filled, Stage } from './support/stage.js';

const EXTENT = 4096;
const MIB = 1024 * 1024;

/** What a device was told, in extents: [first, count]. */
class Advised extends MemoryDevice implements AdvisedDevice {
  #told: [number, number][] = [];

  willWrite(offset: number, length: number): void {
    this.#told.push([offset / EXTENT, length / EXTENT]);
  }

  take(): [number, number][] {
    const told = this.#told;
    this.#told = [];
    return told;
  }
}

function adviceOver(devices: readonly BlockDevice[], each = 1000, extentBytes = EXTENT) {
  const locate = (extent: number) => ({
    device: devices[Math.floor(extent / each)]!,
    offsetBytes: (extent % each) * extentBytes,
  });
  return new JournalAdvice({ blockBytes: 512, locate }, extentBytes);
}

const numbers = (from: number, count: number) => Array.from({ length: count }, (_, at) => from + at);

describe('of what is ready, a device is told', () => {
  it('the ranges, those that lie together as one', () => {
    const device = new Advised(EXTENT);
    adviceOver([device]).ready([7, 3, 8, 20, 4, 6]);
    expect(device.take()).toEqual([
      [3, 2],
      [6, 3],
      [20, 1],
    ]);
  });

  it('what lies on it, if it takes advice', () => {
    const [first, third] = [new Advised(EXTENT), new Advised(EXTENT)];
    adviceOver([first, new MemoryDevice(EXTENT), third], 10).ready([9, 10, 11, 20, 21]);
    expect([first.take(), third.take()]).toEqual([[[9, 1]], [[0, 2]]]);
  });

  it('no more than is taken soon: so many extents, and so many bytes', () => {
    const device = new Advised(EXTENT);
    adviceOver([device]).ready(numbers(100, 200));
    expect(device.take()).toEqual([[100, 32]]);
    adviceOver([device], 1000, 8 * MIB).ready(numbers(100, 200));
    expect(device.take()).toEqual([[(100 * 8 * MIB) / EXTENT, (4 * 8 * MIB) / EXTENT]]);
    adviceOver([device], 1000, 64 * MIB).ready(numbers(1, 2));
    expect(device.take()).toEqual([[(64 * MIB) / EXTENT, (64 * MIB) / EXTENT]]);
  });

  it('again when half of what is next is new, and then all of it', () => {
    const device = new Advised(EXTENT);
    const advice = adviceOver([device]);
    advice.ready(numbers(0, 10));
    expect(device.take()).toEqual([[0, 10]]);
    advice.taken(numbers(0, 2));
    advice.ready([...numbers(2, 8), ...numbers(50, 7)]);
    expect(device.take()).toEqual([]);
    advice.ready([...numbers(2, 8), ...numbers(50, 8)]);
    expect(device.take()).toEqual([
      [2, 8],
      [50, 8],
    ]);
    advice.ready([...numbers(2, 8), ...numbers(50, 8)]);
    expect(device.take()).toEqual([]);
  });

  it('of one that was taken and is ready once more', () => {
    const device = new Advised(EXTENT);
    const advice = adviceOver([device]);
    advice.ready([1, 2]);
    device.take();
    advice.taken([1]);
    advice.ready([2]);
    expect(device.take()).toEqual([]);
    advice.ready([2, 1]);
    expect(device.take()).toEqual([[1, 2]]);
  });

  it('nothing where nothing is ready', () => {
    const device = new Advised(EXTENT);
    adviceOver([device]).ready([]);
    expect(device.take()).toEqual([]);
  });
});

describe('the reserve tells', () => {
  /** Over a server that gives extents from 0 on. */
  function reserveOver(device: BlockDevice): JournalReserve {
    let next = 0;
    const service = {
      request: async (message: { type: string; count?: number }) => {
        const { count = 0 } = message;
        next += count;
        return { extents: numbers(next - count, count) };
      },
      subscribe: () => () => {},
    };
    const session = new Session(service as never, 'a', () => {});
    return new JournalReserve(
      session,
      'a',
      () => {},
      async () => false,
      adviceOver([device]),
    );
  }

  it('what was allocated beside what was asked for, and what comes back, but nothing that is in use', async () => {
    const device = new Advised(EXTENT);
    const reserve = reserveOver(device);
    const taken = await reserve.take({ count: 2, file: 1 });
    // Twice what a commit is taken to use is allocated beside it.
    expect([taken, reserve.readyExtents, device.take()]).toEqual([[0, 1], 8, [[2, 8]]]);
    expect(await reserve.take({ count: 3, file: 1 })).toEqual([2, 3, 4]);
    expect(device.take()).toEqual([]);
    reserve.returned(numbers(100, 4));
    expect(device.take()).toEqual([]);
    reserve.returned(numbers(200, 1));
    expect(device.take()).toEqual([
      [5, 5],
      [100, 4],
      [200, 1],
    ]);
  });
});

describe('through a store', () => {
  /** Of a target: what it was told of and was not written since, and what was written that it was not told of. */
  class Watching extends FaultyDevice implements AdvisedDevice {
    readonly told = new RangeSet();
    untold: number[] = [];

    willWrite(offset: number, length: number): void {
      this.told.add(offset, offset + length);
    }

    override write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
      const end = offset + byteLength(from);
      if (!this.told.covers(offset, end)) this.untold.push(offset / EXTENT_BYTES);
      this.told.remove(offset, end);
      return super.write(offset, from, options);
    }
  }

  it('all that is written after the first commits was told before', async () => {
    const targets: Watching[] = [];
    const wrap = (device: BlockDevice) => {
      const target = new Watching(device);
      targets.push(target);
      return target;
    };
    const stage = await Stage.make({ wrap, store: { writeBehindBytes: 0 } });
    const { store, file } = await stage.openWithFile();
    const round = async (fill: number) => {
      for (let at = 0; at < 16; at++) await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES, fill));
      await file.commit({ isComplete: true });
    };
    for (const fill of [1, 2]) await round(fill);
    const [target] = targets;
    expect(target!.untold.length).toBeGreaterThan(0);
    target!.untold = [];
    for (const fill of [3, 4, 5, 6]) await round(fill);
    expect(target!.untold).toEqual([]);
    expect(target!.told.totalBytes).toBeLessThanOrEqual(32 * EXTENT_BYTES);
    await store.close();
  });
});
