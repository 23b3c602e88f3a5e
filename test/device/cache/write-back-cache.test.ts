import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type CacheOptions, WriteBackCache } from '../../../src/device/cache/index.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { errorOf, expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { FaultyBatchDevice, FaultyDevice } from '../../support/devices/faulty-device.js';
import { SeededRandom } from '../../support/devices/seeded-random.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK = 4 * KIB;
const STRIPE = 48 * KIB;

function cacheOver<D extends BlockDevice>(lower: D, options: Partial<CacheOptions> = {}): WriteBackCache {
  const cache = new WriteBackCache(lower, { capacityBytes: MIB, stripeBytes: STRIPE, ...options });
  onTestFinished(() => cache.close());
  return cache;
}

function memory(size = 4 * MIB): { base: MemoryDevice; lower: FaultyBatchDevice } {
  const base = new MemoryDevice(size);
  return { base, lower: new FaultyBatchDevice(base) };
}

describe('gathering', () => {
  it('makes full stripes of small writes in any order, and one batch of them, without a read', async () => {
    const { base, lower } = memory();
    const cache = cacheOver(lower);
    const stripes = [2, 3, 7];
    const offsets = stripes.flatMap((stripe) =>
      Array.from({ length: STRIPE / 1024 }, (_, i) => stripe * STRIPE + i * 1024),
    );
    const random = new SeededRandom(5);
    for (const offset of offsets.sort(() => random.next() - 0.5))
      await cache.write(offset, pattern(1024, offset / 1024));
    expect(lower.counts).toMatchObject({ writes: 0, batches: 0 });
    await cache.flush();
    expect(cache.statistics).toMatchObject({
      fullStripes: 3,
      batches: 1,
      writes: 2,
      bytes: 3 * STRIPE,
      dirtyBytes: 0,
    });
    expect(lower.counts).toMatchObject({
      batches: 1,
      writes: 2,
      writtenBytes: 3 * STRIPE,
      reads: 0,
      flushes: 1,
    });
    for (const offset of offsets) expectSame(await readAt(base, offset, 1024), pattern(1024, offset / 1024));
  });

  it('counts stripes from where they start', async () => {
    const { lower } = memory();
    const cache = cacheOver(lower, { alignOffset: 5 * STRIPE + BLOCK });
    await cache.write(BLOCK + STRIPE, pattern(STRIPE, 1));
    await cache.flush();
    expect(cache.statistics.fullStripes).toBe(1);
    // Two halves of two stripes.
    await cache.write(BLOCK + STRIPE + STRIPE / 2, pattern(STRIPE, 1));
    await cache.flush();
    expect(cache.statistics.fullStripes).toBe(1);
    // The first one is short, and as whole as it can be.
    await cache.write(0, pattern(BLOCK, 1));
    await cache.flush();
    expect(cache.statistics.fullStripes).toBe(2);
  });

  it('in the background takes complete stripes and leaves those that are being filled', async () => {
    const { base, lower } = memory();
    const cache = cacheOver(lower, { capacityBytes: 16 * STRIPE, dirtyLimitBytes: 8 * STRIPE });
    await cache.write(20 * STRIPE, pattern(BLOCK, 9));
    for (let i = 0; i < 6 * (STRIPE / BLOCK); i++) await cache.write(i * BLOCK, pattern(BLOCK, i));
    await idle();
    expect(cache.statistics.fullStripes).toBeGreaterThan(0);
    expect(cache.statistics.bytes).toBe(cache.statistics.fullStripes * STRIPE);
    expectSame(await readAt(base, 20 * STRIPE, BLOCK), new Uint8Array(BLOCK));
  });

  it('writes what was written once, however often it was', async () => {
    const { lower } = memory();
    const cache = cacheOver(lower);
    for (let i = 0; i < 100; i++) await cache.write(8192, pattern(512, i));
    await cache.flush();
    expect(lower.counts).toMatchObject({ writes: 1, writtenBytes: 512, reads: 0 });
    await cache.flush();
    expect(lower.counts).toMatchObject({ writes: 1, flushes: 2 });
  });

  it('reads only what the blocks below make necessary, and late', async () => {
    const { base, lower } = memory();
    await base.write(0, pattern(16_384, 1));
    const cache = cacheOver(lower);
    await cache.write(1000, pattern(100, 2));
    await cache.write(5000, pattern(1, 3));
    await cache.write(5119, pattern(1, 3));
    expect(lower.counts.reads).toBe(0);
    await cache.flush();
    const wanted = pattern(16_384, 1);
    wanted.set(pattern(100, 2), 1000);
    wanted.set(pattern(1, 3), 5000);
    wanted.set(pattern(1, 3), 5119);
    // Bytes 1000 to 1100 lie in two sectors; 5000 and 5119 in one.
    expect(lower.counts).toMatchObject({ readBytes: 3 * 512, writtenBytes: 3 * 512 });
    expectSame(await readAt(base, 0, 16_384), wanted);
  });
});

describe('reads', () => {
  it('are kept, and counted', async () => {
    const { base, lower } = memory();
    await base.write(0, pattern(16 * BLOCK, 1));
    const cache = cacheOver(lower);
    expectSame(await readAt(cache, 100, 4 * BLOCK), pattern(16 * BLOCK, 1).subarray(100, 100 + 4 * BLOCK));
    expect(lower.counts).toMatchObject({ reads: 1, readBytes: 5 * BLOCK });
    await readAt(cache, BLOCK, 2 * BLOCK);
    expect(lower.counts.reads).toBe(1);
    expect(cache.statistics).toMatchObject({ hits: 2, misses: 5, cachedBytes: 5 * BLOCK, dirtyBytes: 0 });
  });

  it('push out what was used least recently', async () => {
    const { lower } = memory();
    const cache = cacheOver(lower, { capacityBytes: 16 * BLOCK });
    for (let i = 0; i < 16; i++) await readAt(cache, i * BLOCK, BLOCK);
    await readAt(cache, 0, BLOCK);
    await readAt(cache, 16 * BLOCK, BLOCK);
    lower.resetCounts();
    await readAt(cache, 0, BLOCK);
    expect(lower.counts.reads).toBe(0);
    await readAt(cache, BLOCK, BLOCK);
    expect(lower.counts.reads).toBe(1);
  });

  it('merge what is in the cache with what is below', async () => {
    const { base, lower } = memory();
    await base.write(0, pattern(4 * BLOCK, 1));
    const cache = cacheOver(lower);
    const wanted = pattern(4 * BLOCK, 1);
    for (const [offset, length] of [
      [10, 20],
      [BLOCK - 5, 10],
      [2 * BLOCK + 7, 1],
    ] as const) {
      await cache.write(offset, pattern(length, 2));
      wanted.set(pattern(length, 2), offset);
    }
    expectSame(await readAt(cache, 0, 4 * BLOCK), wanted);
    await cache.flush();
    expectSame(await readAt(base, 0, 4 * BLOCK), wanted);
  });

  it('of good sectors do not fail for a bad one in the same block', async () => {
    const { base, lower } = memory();
    await base.write(0, pattern(4 * BLOCK, 1));
    lower.addRule({ operations: ['read'], range: { offset: BLOCK + 512, length: 512 } });
    const cache = cacheOver(lower);
    expectSame(await readAt(cache, 0, BLOCK + 512), pattern(4 * BLOCK, 1).subarray(0, BLOCK + 512));
    expectSame(
      await readAt(cache, BLOCK + 1024, BLOCK),
      pattern(4 * BLOCK, 1).subarray(BLOCK + 1024, 2 * BLOCK + 1024),
    );
    expect((await errorOf(readAt(cache, BLOCK, BLOCK))).fault.device).toBe(base.name);
    // Written anew it is good again, though it still cannot be read below.
    await cache.write(BLOCK + 512, pattern(512, 3));
    expectSame(await readAt(cache, BLOCK + 512, 512), pattern(512, 3));
    await cache.flush();
  });
});

describe('bounds', () => {
  it('hold, however many write and read at once, and all come to an end', async () => {
    const lower = new FaultyBatchDevice(new MemoryDevice(4 * MIB), { seed: 3, maxDelayTurns: 3 });
    const cache = cacheOver(lower, { capacityBytes: 32 * BLOCK, dirtyLimitBytes: 16 * BLOCK });
    const worst = { cached: 0, dirty: 0 };
    const watch = () => {
      worst.cached = Math.max(worst.cached, cache.statistics.cachedBytes);
      worst.dirty = Math.max(worst.dirty, cache.statistics.dirtyBytes);
    };
    const random = new SeededRandom(4);
    const callers = Array.from({ length: 40 }, async (_, i) => {
      const lane = i * 100_000;
      for (let n = 0; n < 20; n++) {
        const offset = lane + random.below(40_000);
        if (random.chance(0.5)) await cache.write(offset, pattern(random.below(60_000), n));
        else await readAt(cache, offset, random.below(60_000));
        watch();
      }
    });
    await Promise.all(callers);
    expect(worst.dirty).toBe(16 * BLOCK);
    expect(worst.cached).toBeLessThanOrEqual(32 * BLOCK);
    expect(lower.overlaps).toEqual([]);
  });

  it('are served in the order of asking', async () => {
    const { lower } = memory();
    const cache = cacheOver(lower, { capacityBytes: 16 * BLOCK });
    const order: number[] = [];
    const writers = Array.from({ length: 60 }, async (_, i) => {
      await cache.write(i * 2 * BLOCK, pattern(BLOCK, i));
      order.push(i);
    });
    await Promise.all(writers);
    expect(order).toEqual(order.map((_, i) => i));
  });

  it('give the memory back', async () => {
    const { lower } = memory();
    for (let i = 0; i < 20; i++) {
      const cache = new WriteBackCache(lower, { capacityBytes: 256 * MIB, closeLower: false });
      await cache.write(0, pattern(BLOCK, i));
      await cache.close();
    }
  });
});

describe('failures', () => {
  it('of write-back lose nothing: the flush reports them and a later one succeeds', async () => {
    const { base, lower } = memory();
    const cache = cacheOver(lower);
    await cache.write(0, pattern(STRIPE, 1));
    const remove = lower.addRule({ operations: ['write'], code: 'NO_SPACE' });
    for (let i = 0; i < 3; i++) expect((await errorOf(cache.flush())).code).toBe('NO_SPACE');
    expectSame(await readAt(cache, 0, STRIPE), pattern(STRIPE, 1));
    await cache.write(BLOCK, pattern(10, 2));
    remove();
    await cache.flush();
    const wanted = pattern(STRIPE, 1);
    wanted.set(pattern(10, 2), BLOCK);
    expectSame(await readAt(base, 0, STRIPE), wanted);
    expect(cache.statistics.dirtyBytes).toBe(0);
  });

  it('in the background are told to the writers that wait for room, and to the next flush', async () => {
    const { base, lower } = memory();
    const cache = cacheOver(lower, { capacityBytes: 16 * BLOCK });
    const remove = lower.addRule({ operations: ['write'], code: 'NO_SPACE' });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, (_, i) => cache.write(i * BLOCK, pattern(BLOCK, i))),
    );
    const taken = outcomes.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []));
    expect(taken).toHaveLength(12);
    expect((await errorOf(cache.write(MIB, pattern(BLOCK, 1)))).code).toBe('NO_SPACE');
    expect((await errorOf(cache.flush())).code).toBe('NO_SPACE');
    remove();
    await cache.write(MIB, pattern(BLOCK, 1));
    await cache.flush();
    for (const i of taken) expectSame(await readAt(base, i * BLOCK, BLOCK), pattern(BLOCK, i));
  });

  it('of one write keep that one dirty, where each is told by itself', async () => {
    const base = new MemoryDevice(4 * MIB);
    const lower = new FaultyDevice(base);
    const cache = cacheOver(lower);
    await cache.write(0, pattern(BLOCK, 1));
    await cache.write(MIB, pattern(BLOCK, 2));
    const remove = lower.addRule({ operations: ['write'], range: { offset: MIB, length: BLOCK } });
    expect((await errorOf(cache.flush())).fault).toMatchObject({
      operation: 'write',
      offset: MIB,
      length: BLOCK,
    });
    expect(cache.statistics.dirtyBytes).toBe(BLOCK);
    remove();
    await cache.flush();
    expectSame(await readAt(base, MIB, BLOCK), pattern(BLOCK, 2));
  });

  it('of zeroing and trimming below leave what was written', async () => {
    const { lower } = memory();
    const cache = cacheOver(lower);
    await cache.write(0, pattern(2 * STRIPE, 1));
    lower.addRule({ operations: ['write-zeroes', 'trim'] });
    await errorOf(cache.writeZeroes(0, 2 * STRIPE));
    await errorOf(cache.trim(0, STRIPE));
    await cache.flush();
    expectSame(await readAt(cache, 0, 2 * STRIPE), pattern(2 * STRIPE, 1));
  });

  it('of the flush below are final', async () => {
    const { lower } = memory();
    const cache = cacheOver(lower);
    await cache.write(0, pattern(BLOCK, 1));
    lower.addRule({ operations: ['flush'], nth: 1 });
    await errorOf(cache.flush());
    expect((await errorOf(cache.flush())).message).toContain('final');
    await errorOf(cache.write(0, pattern(BLOCK, 2)));
    expectSame(await readAt(cache, 0, BLOCK), pattern(BLOCK, 1));
  });

  it('at random, of anything, lose no write that was taken', async () => {
    const base = new MemoryDevice(MIB);
    const random = new SeededRandom(21);
    const lower = new FaultyDevice(base, { seed: 22, maxDelayTurns: 2 });
    lower.addRule({ operations: ['read', 'write'], probability: 0.2 });
    const cache = cacheOver(lower, { capacityBytes: 24 * BLOCK });
    const model = new Uint8Array(MIB);
    const insist = async (call: () => Promise<unknown>) => {
      while (
        !(await call().then(
          () => true,
          () => false,
        ))
      );
    };
    const lanes = Array.from({ length: 8 }, async (_, lane) => {
      for (let n = 0; n < 30; n++) {
        const offset = lane * 131_072 + random.below(100_000);
        const bytes = random.bytes(random.below(30_000));
        await insist(() => cache.write(offset, bytes));
        model.set(bytes, offset);
        if (random.chance(0.1)) await cache.flush().catch(() => undefined);
      }
    });
    await Promise.all(lanes);
    lower.clearRules();
    await cache.flush();
    expectSame(await readAt(base, 0, MIB), model);
    expectSame(await readAt(cache, 0, MIB), model);
    expect(lower.overlaps).toEqual([]);
  });
});

describe('fua', () => {
  it('is one durable write below, and no flush', async () => {
    const { lower } = memory();
    const cache = cacheOver(lower);
    await cache.write(3 * BLOCK, pattern(BLOCK, 1));
    await cache.write(3 * BLOCK + 512, pattern(1024, 2), { fua: true });
    expect(lower.counts).toMatchObject({ fuaWrites: 1, writes: 0, flushes: 0 });
  });

  it('is durable even when a version of the block is already on its way', async () => {
    for (let seed = 0; seed < 30; seed++) {
      const lower = new VolatileDevice(MIB, { seed, maxDelayTurns: 5 });
      const cache = cacheOver(lower, { capacityBytes: 16 * BLOCK });
      const others = Array.from({ length: 20 }, (_, i) => cache.write(i * BLOCK, pattern(BLOCK, 1)));
      await cache.write(5 * BLOCK + 100, pattern(9000, 2), { fua: true });
      const left = lower.cutPower(seed, 'none');
      expectSame((await readAt(left, 5 * BLOCK, 3 * BLOCK)).subarray(100, 9100), pattern(9000, 2));
      await Promise.allSettled(others);
    }
  });
});

describe('writing through', () => {
  it('is fua for every write, as long as it is asked for', async () => {
    const { lower } = memory();
    let isThrough = true;
    const cache = cacheOver(lower, { writesThrough: () => isThrough });
    expect(cache.writeNow(0, [pattern(BLOCK, 1)], BLOCK)).toBe(false);
    await cache.write(0, pattern(BLOCK, 1));
    await cache.write(4 * STRIPE, pattern(4 * STRIPE, 2));
    await cache.writeZeroes(BLOCK, 512);
    await cache.writeZeroes(8 * STRIPE, 4 * STRIPE);
    expect(lower.counts).toMatchObject({ writes: 0, flushes: 0 });
    const durable = lower.counts.fuaWrites;
    expect(durable).toBe(3);
    isThrough = false;
    expect(cache.writeNow(0, [pattern(BLOCK, 3)], BLOCK)).toBe(true);
    await cache.write(BLOCK, pattern(BLOCK, 3));
    expect(lower.counts).toMatchObject({ writes: 0, fuaWrites: durable });
  });
});

describe('what it refuses', () => {
  it('is to be built with sizes that make no sense', () => {
    const lower = new MemoryDevice(MIB, { blockSize: 520 });
    expect(() => new WriteBackCache(lower, { capacityBytes: MIB })).toThrow(TypeError);
    const good = new MemoryDevice(MIB);
    expect(() => new WriteBackCache(good, { capacityBytes: BLOCK })).toThrow(TypeError);
    expect(() => new WriteBackCache(good, { capacityBytes: MIB, stripeBytes: 5000 })).toThrow(TypeError);
    expect(() => new WriteBackCache(good, { capacityBytes: MIB, alignOffset: 512 })).toThrow(TypeError);
  });

  it('is a write when the device below is read only; reads go on', async () => {
    const cache = cacheOver(new MemoryDevice(MIB, { readOnly: true }));
    expect((await errorOf(cache.write(0, pattern(1, 1)))).code).toBe('PERMISSION_DENIED');
    expectSame(await readAt(cache, 5, 10), new Uint8Array(10));
    await cache.flush();
  });
});

/** Long enough for a background that has work to do it: memory completes within a turn. */
async function idle(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}
