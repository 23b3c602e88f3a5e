/** Orders of events that must not put stale data into the cache, or below it. */
import { setImmediate } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { WriteBackCache } from '../../../src/device/cache/index.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { errorOf, expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { HeldDevice } from '../../support/devices/held-device.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK = 4 * KIB;
const STRIPE = 64 * KIB;

async function held(capacityBytes = MIB) {
  const base = new MemoryDevice(4 * MIB);
  await base.write(0, pattern(MIB, 1));
  const faults = new FaultyDevice(base);
  const lower = new HeldDevice(faults);
  // Above the door: calls overlap from when the cache made them.
  const watcher = new FaultyDevice(lower);
  const cache = new WriteBackCache(watcher, { capacityBytes, stripeBytes: STRIPE });
  onTestFinished(async () => {
    await cache.close();
    expect(watcher.overlaps).toEqual([]);
  });
  return { base, lower, cache, faults };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await setImmediate();
}

it('a write into a block on its way down waits for nobody, and goes down after it', async () => {
  const { base, lower, cache } = await held();
  await cache.write(0, pattern(BLOCK, 2));
  lower.hold('write');
  const first = cache.flush();
  await lower.arrived(1);
  await cache.write(100, pattern(200, 3));
  const wanted = pattern(BLOCK, 2);
  wanted.set(pattern(200, 3), 100);
  expectSame(await readAt(cache, 0, BLOCK), wanted);
  const second = cache.flush();
  await settled();
  expect(lower.waiting).toBe(1);
  lower.release('write');
  await first;
  await second;
  expectSame(await readAt(base, 0, BLOCK), wanted);
});

it('the version on its way down is the old one, whole', async () => {
  const { base, lower, cache } = await held();
  await cache.write(0, pattern(BLOCK, 2));
  lower.hold('write');
  const flushing = cache.flush();
  await lower.arrived(1);
  await cache.write(0, pattern(BLOCK, 3));
  lower.release('write');
  await flushing;
  expectSame(await readAt(base, 0, BLOCK), pattern(BLOCK, 2));
  expectSame(await readAt(cache, 0, BLOCK), pattern(BLOCK, 3));
});

it('an older version that did not arrive goes down with the newer one', async () => {
  const { base, lower, cache, faults } = await held();
  await cache.write(0, pattern(BLOCK, 2));
  lower.hold('write');
  faults.addRule({ operations: ['write'], nth: 1 });
  const flushing = errorOf(cache.flush());
  await lower.arrived(1);
  await cache.write(100, pattern(200, 3));
  lower.release('write');
  await flushing;
  await cache.flush();
  const wanted = pattern(BLOCK, 2);
  wanted.set(pattern(200, 3), 100);
  expectSame(await readAt(base, 0, BLOCK), wanted);
});

it('a write that comes while its block is read in is not overwritten by what was below', async () => {
  const { lower, cache } = await held();
  lower.hold('read');
  const reading = readAt(cache, 0, BLOCK);
  await lower.arrived(1);
  const writing = cache.write(512, pattern(512, 3));
  await settled();
  lower.release('read');
  await reading;
  await writing;
  const wanted = pattern(MIB, 1).subarray(0, BLOCK);
  wanted.set(pattern(512, 3), 512);
  expectSame(await readAt(cache, 0, BLOCK), wanted);
});

it('a long read beside the cache is not overtaken by a write to its range, and sees what came before it', async () => {
  const { base, lower, cache } = await held();
  const before = pattern(MIB, 1);
  lower.hold('read');
  const reading = readAt(cache, 0, 4 * STRIPE);
  await lower.arrived(1);
  const writing = cache.write(STRIPE, pattern(BLOCK, 2));
  const flushing = writing.then(() => cache.flush());
  // Held back by the lock, and then by the block that is in the cache: it must not be read beside it.
  const later = writing.then(() => readAt(cache, 0, 4 * STRIPE));
  await settled();
  expect(lower.waiting).toBe(1);
  lower.release('read');
  expectSame(await reading, before.subarray(0, 4 * STRIPE));
  await flushing;
  const wanted = Uint8Array.from(before.subarray(0, 4 * STRIPE));
  wanted.set(pattern(BLOCK, 2), STRIPE);
  expectSame(await later, wanted);
  expectSame(await readAt(base, 0, 4 * STRIPE), wanted);
});

it('a long read is not kept: what is below is read again', async () => {
  const { lower, cache } = await held();
  await readAt(cache, 0, 4 * STRIPE);
  expect(cache.statistics).toMatchObject({ cachedBytes: 0, misses: (4 * STRIPE) / BLOCK });
  lower.hold('read');
  const again = readAt(cache, 0, 4 * STRIPE);
  await lower.arrived(1);
  lower.release('read');
  expectSame(await again, pattern(MIB, 1).subarray(0, 4 * STRIPE));
});

it.each(['trim', 'write-zeroes'] as const)(
  'a read that comes during a %s below does not keep what it saw',
  async (operation) => {
    const { base, lower, cache } = await held();
    await cache.write(0, pattern(STRIPE, 2));
    lower.hold(operation);
    const change = operation === 'trim' ? cache.trim(0, 2 * STRIPE) : cache.writeZeroes(0, 2 * STRIPE);
    await lower.arrived(1);
    // Of the range, and cached or not: their outcome is open, but nothing of it may stay.
    lower.hold('read');
    const reads = [0, STRIPE].map((offset) => readAt(cache, offset, STRIPE));
    await settled();
    lower.release(operation);
    await change;
    lower.release('read');
    await Promise.all(reads);
    expectSame(await readAt(cache, 0, 2 * STRIPE), new Uint8Array(2 * STRIPE));
    await cache.flush();
    expectSame(await readAt(base, 0, 2 * STRIPE), new Uint8Array(2 * STRIPE));
  },
);

it('zeroes below wait for what is on its way down, and neighbours go on meanwhile', async () => {
  const { base, lower, cache } = await held();
  // Short enough to be kept.
  const kept = pattern(2 * STRIPE, 2);
  await cache.write(0, kept.subarray(0, STRIPE));
  await cache.write(STRIPE, kept.subarray(STRIPE));
  lower.hold('write');
  const flushing = cache.flush();
  await lower.arrived(1);
  const zeroing = cache.writeZeroes(0, STRIPE);
  await cache.write(3 * STRIPE, pattern(BLOCK, 4));
  await settled();
  expect(lower.waiting).toBe(1);
  lower.release('write');
  await Promise.all([flushing, zeroing]);
  await cache.flush();
  const wanted = pattern(2 * STRIPE, 2).fill(0, 0, STRIPE);
  expectSame(await readAt(base, 0, 2 * STRIPE), wanted);
  expectSame(await readAt(cache, 0, 2 * STRIPE), wanted);
});

it('a flush waits for zeroes under way that stand before older dirty blocks', async () => {
  const { base, lower, cache } = await held();
  await cache.write(0, pattern(STRIPE, 2));
  lower.hold('write-zeroes');
  const zeroing = cache.writeZeroes(0, STRIPE);
  await lower.arrived(1);
  let isFlushed = false;
  const flushing = cache.flush().then(() => {
    isFlushed = true;
  });
  await settled();
  expect(isFlushed).toBe(false);
  lower.release('write-zeroes');
  await Promise.all([zeroing, flushing]);
  expectSame(await readAt(base, 0, STRIPE), new Uint8Array(STRIPE));
});

it('a flush waits for a long write under way that stands before older dirty blocks', async () => {
  const { base, lower, cache } = await held();
  await cache.write(STRIPE, pattern(BLOCK, 2));
  lower.hold('write');
  const data = pattern(4 * STRIPE, 3);
  const writing = cache.write(0, data);
  await lower.arrived(1);
  let isFlushed = false;
  const flushing = cache.flush().then(() => {
    isFlushed = true;
  });
  await settled();
  expect([isFlushed, lower.waiting]).toEqual([false, 1]);
  lower.release('write');
  await Promise.all([writing, flushing]);
  expectSame(await readAt(base, 0, 4 * STRIPE), data);
});

it('a long write waits for what is on its way down, and is what stays', async () => {
  const { base, lower, cache } = await held();
  await cache.write(STRIPE, pattern(BLOCK, 2));
  lower.hold('write');
  const flushing = cache.flush();
  await lower.arrived(1);
  const data = pattern(4 * STRIPE, 3);
  const writing = cache.write(0, data);
  await settled();
  expect(lower.waiting).toBe(1);
  lower.release('write');
  await Promise.all([writing, flushing]);
  await cache.flush();
  expectSame(await readAt(cache, 0, 4 * STRIPE), data);
  expectSame(await readAt(base, 0, 4 * STRIPE), data);
});

it('a long write that fails loses nothing that was taken before it', async () => {
  const { base, cache, faults } = await held();
  const taken = pattern(BLOCK, 2);
  await cache.write(STRIPE, taken);
  const heal = faults.addRule({ operations: ['write'] });
  await errorOf(cache.write(0, pattern(4 * STRIPE, 3)));
  heal();
  await cache.flush();
  expectSame(await readAt(base, STRIPE, BLOCK), taken);
});

it('a long write is split at stripes: what is no whole one is kept, and a read sees all of it', async () => {
  const { base, lower, cache } = await held();
  const data = pattern(4 * STRIPE, 3);
  await cache.write(100, data);
  expect(cache.statistics.dirtyBytes).toBe(STRIPE + BLOCK);
  expectSame(await readAt(base, STRIPE, 3 * STRIPE), data.subarray(STRIPE - 100, 4 * STRIPE - 100));
  expectSame(await readAt(cache, 100, 4 * STRIPE), data);
  expect(lower.waiting).toBe(0);
});

it('extents asked for while a block goes down call it data', async () => {
  const { lower, cache } = await held();
  const offset = 2 * MIB;
  await cache.write(offset, pattern(BLOCK, 2));
  lower.hold('extents');
  const asking = cache.extents(offset, BLOCK);
  await lower.arrived(1);
  await cache.flush();
  lower.release('extents');
  expect(await asking).toEqual([{ offset, length: BLOCK, kind: 'data' }]);
});

it('two readers of one block ask below once', async () => {
  const { lower, cache } = await held();
  lower.hold('read');
  const readers = Promise.all([readAt(cache, 0, 100), readAt(cache, 200, 100), readAt(cache, 0, BLOCK)]);
  await settled();
  expect(lower.waiting).toBe(1);
  lower.release('read');
  const [first] = await readers;
  expectSame(first!, pattern(MIB, 1).subarray(0, 100));
});

it('a close waits for write-back and loses what was not flushed', async () => {
  const base = new MemoryDevice(MIB);
  const cache = new WriteBackCache(base, { capacityBytes: MIB, closeLower: false });
  await cache.write(0, pattern(BLOCK, 2));
  await cache.close();
  expectSame(await readAt(base, 0, BLOCK), new Uint8Array(BLOCK));
});
