/** Any bytes, many calls at once, that overlap: as if one after another, and never two at once below. */
import { expect, it } from 'vitest';
import { WriteBackCache } from '../../../src/device/cache/index.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { OrderedDevice } from '../../../src/nbd/server/ordered-device.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';

const SIZE = 64 * 1024;

interface Change {
  readonly offset: number;
  readonly length: number;
  /** Written to every byte; 0 for zeroes and trims. */
  readonly value: number;
}

function begin(device: OrderedDevice, random: SeededRandom, value: number): [Change, Promise<void>] {
  const offset = random.below(SIZE);
  const length = random.between(1, Math.min(SIZE - offset, random.pick([10, 2000, SIZE])));
  switch (random.below(5)) {
    case 0:
      return [{ offset, length, value: 0 }, device.zero(offset, length, {})];
    case 1:
      return [{ offset, length, value: 0 }, device.writeZeroData(offset, length)];
    default: {
      const cut = random.below(length + 1);
      const bytes = Buffer.alloc(length, value);
      const parts = [bytes.subarray(0, cut), bytes.subarray(cut)];
      const isDone = device.writeNow(offset, parts, length);
      return [
        { offset, length, value },
        isDone ? Promise.resolve() : device.write(offset, parts, length, {}),
      ];
    }
  }
}

it.each([
  [512, false],
  [4096, false],
  [512, true],
])('blocks of %i bytes, below a cache that is prompt: %s', (blockSize, isCached) =>
  withSeed(async (random) => {
    const faulty = new FaultyDevice(new MemoryDevice(SIZE, { blockSize }), {
      seed: random.below(2 ** 32),
      maxDelayTurns: 3,
    });
    const cache = isCached ? new WriteBackCache(faulty, { capacityBytes: SIZE }) : null;
    const device = new OrderedDevice(cache ?? faulty);
    const model = Buffer.alloc(SIZE);
    const calls: Promise<void>[] = [];
    for (let i = 1; i <= 400; i++) {
      const [{ offset, length, value }, call] = begin(device, random, (i % 255) + 1);
      model.fill(value, offset, offset + length);
      calls.push(call);
      if (!random.chance(0.3)) continue;
      const at = random.below(SIZE - 1);
      const into = Buffer.alloc(random.between(1, SIZE - at), 0xee);
      const expected = Buffer.from(model.subarray(at, at + into.byteLength));
      const read = random.chance(0.5)
        ? device.readNow(at, into)
          ? Promise.resolve()
          : device.read(at, into)
        : device.readParts(at, into).then((parts) => {
            for (const part of parts)
              if (!part.isData) into.fill(0, part.offset - at, part.offset - at + part.length);
          });
      calls.push(read.then(() => expect(into.equals(expected), `read ${i}`).toBe(true)));
    }
    await Promise.all(calls);
    const left = Buffer.alloc(SIZE);
    await device.read(0, left);
    expect(left.equals(model)).toBe(true);
    expect(faulty.overlaps).toEqual([]);
    await cache?.close();
  }),
);

it('is prompt only where nobody is before it', async () => {
  const cache = new WriteBackCache(new MemoryDevice(SIZE), { capacityBytes: SIZE });
  const device = new OrderedDevice(cache);
  const bytes = () => [Buffer.alloc(100, 1)];
  expect(device.writeNow(50, bytes(), 100)).toBe(true);
  expect(device.readNow(50, Buffer.alloc(100))).toBe(true);
  const reading = device.read(4096, Buffer.alloc(4096));
  expect(device.writeNow(8191, bytes(), 100)).toBe(false);
  expect(device.writeNow(8192, bytes(), 100)).toBe(true);
  await reading;
  const writing = device.write(60, bytes(), 100, {});
  expect(device.readNow(59, Buffer.alloc(1))).toBe(true);
  expect(device.readNow(60, Buffer.alloc(1))).toBe(false);
  expect(device.writeNow(4096, bytes(), 100)).toBe(true);
  const zeroing = device.zero(0, SIZE, {});
  expect(device.writeNow(4096, bytes(), 100)).toBe(false);
  await Promise.all([writing, zeroing]);
  expect(device.readNow(60, Buffer.alloc(1))).toBe(false);
  await cache.close();
});

it('trims whole blocks only, and in order', () =>
  withSeed(async (random) => {
    const faulty = new FaultyDevice(new MemoryDevice(SIZE), {
      seed: random.below(2 ** 32),
      maxDelayTurns: 3,
    });
    const device = new OrderedDevice(faulty);
    await device.write(0, [Buffer.alloc(SIZE, 7)], SIZE, {});
    const untouched = new Set(Array.from({ length: SIZE }, (_, i) => i));
    const calls: Promise<void>[] = [];
    for (let i = 0; i < 50; i++) {
      const offset = random.below(SIZE);
      const length = random.between(1, Math.min(3000, SIZE - offset));
      calls.push(device.trim(offset, length));
      for (let at = offset; at < offset + length; at++) untouched.delete(at);
    }
    await Promise.all(calls);
    const left = Buffer.alloc(SIZE);
    await device.read(0, left);
    expect([...untouched].every((at) => left[at] === 7)).toBe(true);
    expect(faulty.overlaps).toEqual([]);
  }));

it('a call that fails gives its place up', async () => {
  const faulty = new FaultyDevice(new MemoryDevice(SIZE));
  const device = new OrderedDevice(faulty);
  faulty.addRule({ nth: 1 });
  await expect(device.write(5, [Buffer.alloc(10)], 10, {})).rejects.toMatchObject({ code: 'IO_ERROR' });
  await device.write(5, [Buffer.alloc(10, 1)], 10, {});
  faulty.addRule({ operations: ['read'], nth: 1 });
  await expect(device.readParts(0, Buffer.alloc(512))).rejects.toMatchObject({ code: 'IO_ERROR' });
  await device.zero(0, 512, {});
});
