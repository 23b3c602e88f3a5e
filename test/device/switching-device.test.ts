/** A device that is switched while it is in use: as a device before and after, and what each call finds meanwhile. */
import { describe, expect, it } from 'vitest';
import type { BatchWrite, BlockDevice, Buffers, Extent, WriteOptions } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { SwitchingDevice } from '../../src/device/switching-device.js';
import { turns } from '../../src/lab/self/delays.js';
import { describeBlockDevice, SMALLEST_SIZE } from '../conformance/block-device.js';
import { FaultyBatchDevice } from '../support/devices/faulty-device.js';
import { HeldDevice } from '../support/devices/held-device.js';
import { Promptly } from '../support/devices/promptly.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';

const SIZE = SMALLEST_SIZE + 64 * 1024;
const BLOCK = 512;
const BLOCKS = 64;

const slow = (base = new MemoryDevice(SIZE)) => new FaultyBatchDevice(base, { seed: 5, maxDelayTurns: 4 });

describeBlockDevice('SwitchingDevice, not switched', {
  make: async () => {
    const device = new SwitchingDevice(slow());
    return { device, cleanup: () => device.close() };
  },
  supports: { holes: true },
});

describeBlockDevice('SwitchingDevice, switched', {
  make: async () => {
    const base = new MemoryDevice(SIZE);
    const device = new SwitchingDevice(slow(base));
    await device.switchTo(slow(base));
    return { device, cleanup: () => device.close() };
  },
  supports: { holes: true },
});

/** Passes what it is told on; knows what has come, and what is under way. */
class Passing implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly = false;
  readonly came: string[] = [];
  inFlight = 0;
  onCall: () => void = () => {};

  constructor(
    private readonly base: BlockDevice,
    private readonly random: SeededRandom | null = null,
  ) {
    this.name = base.name;
    this.size = base.size;
    this.blockSize = base.blockSize;
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.call(`read ${offset}`, () => this.base.read(offset, into));
  }

  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    const how = options?.fua === true ? ' fua' : '';
    return this.call(`write ${offset}${how}`, () => this.base.write(offset, from, options));
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    return this.call(`zero ${offset}`, () => this.base.writeZeroes(offset, length, options));
  }

  trim(offset: number, length: number): Promise<void> {
    return this.call(`trim ${offset}`, () => this.base.trim(offset, length));
  }

  flush(): Promise<void> {
    return this.call('flush', () => this.base.flush());
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.call(`extents ${offset}`, () => this.base.extents(offset, length));
  }

  close(): Promise<void> {
    return this.base.close();
  }

  protected async call<T>(what: string, body: () => Promise<T>): Promise<T> {
    this.onCall();
    this.came.push(what);
    this.inFlight += 1;
    try {
      const delay = this.random === null ? undefined : { random: this.random, maxTurns: 6 };
      await turns(delay);
      if (this.random?.chance(0.1) === true) throw new Error(`${what} fails`);
      const result = await body();
      await turns(delay);
      return result;
    } finally {
      this.inFlight -= 1;
    }
  }
}

class PassingBatches extends Passing {
  writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    return this.call(`batch ${batch.map(({ offset }) => offset).join()}`, async () => {
      for (const { offset, from } of batch) await this.write(offset, from);
    });
  }
}

/** Takes what it can at once, or nothing. */
class PassingNow extends Passing {
  isPrompt = true;
  now = 0;

  readNow(): boolean {
    this.onCall();
    if (this.isPrompt) this.now += 1;
    return this.isPrompt;
  }

  writeNow(): boolean {
    return this.readNow();
  }
}

/** Asks for something of one block of its own; undefined, or why it failed. */
async function ask(device: SwitchingDevice, random: SeededRandom, at: number): Promise<unknown> {
  const offset = at * BLOCK;
  const bytes = new Uint8Array(BLOCK).fill(at);
  const calls = [
    () => device.write(offset, bytes),
    () => device.write(offset, [bytes], { fua: true }),
    () => device.writeBatch([{ offset, from: bytes }]),
    () => device.writeZeroes(offset, BLOCK),
    () => device.trim(offset, BLOCK),
    () => device.read(offset, bytes),
    () => device.extents(offset, BLOCK),
    () => device.flush(),
  ];
  try {
    await calls[random.below(calls.length)]!();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function expectOneSideEach(random: SeededRandom, isBatch: boolean): Promise<void> {
  const base = new MemoryDevice(BLOCKS * BLOCK);
  const lower = isBatch ? new PassingBatches(base, random) : new Passing(base, random);
  const upper = isBatch ? new PassingBatches(base, random) : new Passing(base, random);
  const device = new SwitchingDevice(lower);
  let isSwitched = false;
  lower.onCall = () => expect(isSwitched).toBe(false);
  upper.onCall = () => expect(lower.inFlight).toBe(0);
  const asked: Promise<unknown>[] = [];
  const failures: unknown[] = [];
  const switchAt = random.below(BLOCKS);
  let switching: Promise<void> = Promise.resolve();
  for (let at = 0; at < BLOCKS; at++) {
    if (at === switchAt)
      switching = device.switchTo(upper).then(() => {
        isSwitched = true;
        expect([lower.inFlight, device.current]).toEqual([0, upper]);
      });
    asked.push(ask(device, random, at).then((failure) => failures.push(failure)));
    await turns({ random, maxTurns: 3 });
  }
  await Promise.all([...asked, switching]);
  const flushes = (side: Passing) => side.came.filter((what) => what === 'flush').length;
  const named = (side: Passing) => side.came.filter((what) => what !== 'flush' && !what.startsWith('batch'));
  const both = [...named(lower), ...named(upper)];
  // Each has a block of its own: none came twice, and none is lost but batches that failed before they wrote.
  expect(new Set(both).size).toBe(both.length);
  const batches = [...lower.came, ...upper.came].filter((what) => what.startsWith('batch'));
  const failedBatches = failures.filter((why) => String(why).startsWith('batch')).length;
  const count = both.length + flushes(lower) + flushes(upper);
  expect(count).toBe(BLOCKS - (batches.length === 0 ? 0 : failedBatches));
  expect(failures).toHaveLength(BLOCKS);
  for (const why of failures) if (why !== undefined) expect(why).toMatch(/ fails$/);
}

describe('a device that is switched while it is in use', () => {
  it('sends each call to one side, the other when nothing is under way in the first', async () => {
    await withSeed(async (random) => {
      for (let round = 0; round < 40; round++) await expectOneSideEach(random, round % 2 === 0);
    });
  });

  it('keeps calls until those under way have ended, and lets them go in the order in which they came', async () => {
    const base = new MemoryDevice(BLOCKS * BLOCK);
    const held = new HeldDevice(base);
    held.hold('write');
    const device = new SwitchingDevice(held);
    const upper = new PassingNow(base);
    const first = device.write(0, new Uint8Array(BLOCK).fill(1));
    await held.arrived(1);
    const switching = device.switchTo(upper);
    const later = [
      device.write(BLOCK, new Uint8Array(BLOCK)),
      device.flush(),
      device.writeBatch([{ offset: 2 * BLOCK, from: new Uint8Array(BLOCK) }]),
      device.read(0, new Uint8Array(BLOCK)),
      device.writeZeroes(3 * BLOCK, BLOCK, { fua: true }),
      device.trim(4 * BLOCK, BLOCK),
      device.extents(0, BLOCK),
    ];
    await turns({ random: { below: () => 5 } as unknown as SeededRandom, maxTurns: 5 });
    expect([upper.came, held.waiting, device.current]).toEqual([[], 1, held]);
    // What cannot wait is not done.
    expect(device.writeNow(0, [new Uint8Array(BLOCK)], BLOCK)).toBe(false);
    expect(device.readNow(0, new Uint8Array(BLOCK))).toBe(false);
    held.release('write');
    await Promise.all([first, switching, ...later]);
    expect(upper.came).toEqual([
      ...['write 512', 'flush', 'write 1024', 'read 0', 'zero 1536', 'trim 2048', 'extents 0'],
    ]);
    expect(device.readNow(0, new Uint8Array(BLOCK))).toBe(true);
  });

  it('is switched though what was under way fails, which its caller is told', async () => {
    const base = new MemoryDevice(BLOCKS * BLOCK);
    const lower = new FaultyBatchDevice(base, { seed: 1, maxDelayTurns: 3 });
    lower.addRule({ operations: ['write'], nth: 1 });
    const device = new SwitchingDevice(lower);
    const failing = device.write(0, new Uint8Array(BLOCK));
    const upper = new Passing(base);
    const failed = expect(failing).rejects.toMatchObject({ code: 'IO_ERROR' });
    await Promise.all([device.switchTo(upper), failed]);
    await device.write(0, new Uint8Array(BLOCK));
    expect(upper.came).toEqual(['write 0']);
  });

  it('is switched once, to what takes all that it takes, and closes what it was switched to', async () => {
    const base = new MemoryDevice(BLOCKS * BLOCK);
    const device = new SwitchingDevice(base);
    const coarse = new MemoryDevice(BLOCKS * BLOCK, { blockSize: 4096 });
    await expect(device.switchTo(coarse)).rejects.toThrow('does not take all');
    await expect(device.switchTo(new MemoryDevice(BLOCK))).rejects.toThrow('does not take all');
    const upper = new MemoryDevice(BLOCKS * BLOCK);
    await device.switchTo(upper);
    await expect(device.switchTo(upper)).rejects.toThrow('switched already');
    await device.close();
    await expect(upper.flush()).rejects.toMatchObject({ code: 'IO_ERROR' });
    await base.flush();
  });

  it('has prompt calls where the one below has them', async () => {
    const base = new MemoryDevice(BLOCKS * BLOCK);
    const lower = new PassingNow(base);
    const device = new SwitchingDevice(lower);
    const promptly = new Promptly(device);
    await promptly.write(0, new Uint8Array(BLOCK));
    await promptly.read(0, new Uint8Array(BLOCK));
    expect([lower.now, lower.came]).toEqual([2, []]);
    lower.isPrompt = false;
    await promptly.write(0, new Uint8Array(BLOCK));
    expect([lower.now, lower.came]).toEqual([2, ['write 0']]);
    expect(new SwitchingDevice(base).readNow(0, new Uint8Array(BLOCK))).toBe(false);
  });
});
