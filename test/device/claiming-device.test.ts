import { describe, expect, it } from 'vitest';
import { ClaimingDevice } from '../../src/device/claiming-device.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { withCalls } from '../../src/lab/self/with-calls.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';

const K = 1024;
const SIZE = 64 * K;
const RANGE = { offset: 16 * K, length: 8 * K };

async function filled(value = 1): Promise<{ below: MemoryDevice; device: ClaimingDevice }> {
  const below = new MemoryDevice(SIZE);
  await below.write(0, new Uint8Array(SIZE).fill(value));
  return { below, device: new ClaimingDevice(below) };
}

async function bytesOf(
  device: { read(offset: number, into: Uint8Array): Promise<void> },
  at = 0,
  count = SIZE,
) {
  const into = new Uint8Array(count).fill(0xee);
  await device.read(at, into);
  return into;
}

const never = async () => {
  throw new Error('nobody writes there');
};

/** Runs of equal bytes. */
function runs(bytes: Uint8Array): [number, number][] {
  const found: [number, number][] = [];
  for (const byte of bytes) {
    const last = found.at(-1);
    if (last?.[0] === byte) last[1] += 1;
    else found.push([byte, 1]);
  }
  return found;
}

function turn<T = void>() {
  let end!: (value: T) => void;
  let fail!: (cause: unknown) => void;
  const promise = new Promise<T>((resolve, reject) => {
    end = resolve;
    fail = reject;
  });
  return { promise, end, fail };
}

describe('a claimed range', () => {
  it('reads as zeroes, over its borders and into several buffers', async () => {
    const { device, below } = await filled();
    const other = device.claim({ offset: 32 * K, length: 4 * K }, never);
    const claim = device.claim(RANGE, never);
    expect(runs(await bytesOf(device))).toEqual([
      ...[
        [1, 16 * K],
        [0, 8 * K],
        [1, 8 * K],
        [0, 4 * K],
        [1, 28 * K],
      ],
    ]);
    const buffers = [3 * K, 0, 2 * K, 5 * K].map((bytes) => new Uint8Array(bytes).fill(0xee));
    await device.read(15 * K, buffers);
    expect(runs(Buffer.concat(buffers))).toEqual([
      [1, K],
      [0, 8 * K],
      [1, K],
    ]);
    expect(device.readNow(15 * K, new Uint8Array(2 * K))).toBe(false);
    expect(runs(await bytesOf(below))).toEqual([[1, SIZE]]);
    claim.end();
    other.end();
    expect(runs(await bytesOf(device))).toEqual([[1, SIZE]]);
  });

  it('asks nothing below of what is claimed', async () => {
    const below = new FaultyDevice(new MemoryDevice(SIZE), { rules: [{ range: RANGE }] });
    const device = new ClaimingDevice(below);
    device.claim(RANGE, never);
    await bytesOf(device);
    await device.extents(0, SIZE);
    await device.trim(0, SIZE);
    await device.writeZeroes(0, SIZE, { fua: true });
  });

  it('is a hole, joined with holes beside it', async () => {
    const { device, below } = await filled();
    await below.trim(24 * K, 8 * K);
    device.claim(RANGE, never);
    expect(await device.extents(4 * K, 40 * K)).toEqual([
      { offset: 4 * K, length: 12 * K, kind: 'data' },
      { offset: 16 * K, length: 16 * K, kind: 'hole' },
      { offset: 32 * K, length: 12 * K, kind: 'data' },
    ]);
  });

  it.each(['trim', 'writeZeroes'] as const)(
    'is left as it is by %s, and what is outside is not',
    async (call) => {
      const { device, below } = await filled();
      device.claim(RANGE, never);
      await device[call](12 * K, 8 * K);
      await device[call](20 * K, 8 * K);
      await device[call](17 * K, K);
      expect(runs(await bytesOf(below))).toEqual([
        ...[
          [1, 12 * K],
          [0, 4 * K],
          [1, 8 * K],
          [0, 4 * K],
          [1, SIZE - 28 * K],
        ],
      ]);
    },
  );

  it('refuses what any device refuses, and claims that cannot be', async () => {
    const { device } = await filled();
    device.claim(RANGE, never);
    const outside = { code: 'OUT_OF_RANGE' };
    await expect(device.read(20 * K, new Uint8Array(SIZE))).rejects.toMatchObject(outside);
    await expect(device.write(20 * K, new Uint8Array(SIZE))).rejects.toMatchObject(outside);
    await expect(device.extents(20 * K, SIZE)).rejects.toMatchObject(outside);
    for (const [offset, length] of [
      [20 * K, K],
      [8 * K, SIZE],
      [0, 0],
      [-K, K],
    ] as const)
      expect(() => device.claim({ offset, length }, never)).toThrow(RangeError);
    await device.close();
    await expect(device.read(16 * K, new Uint8Array(K))).rejects.toMatchObject({ code: 'IO_ERROR' });
  });
});

describe('a write to a claimed range', () => {
  async function claimed() {
    const { device, below } = await filled();
    const asked: number[] = [];
    const given = turn();
    const claim = device.claim(RANGE, async (offset) => {
      asked.push(offset);
      await given.promise;
      await below.writeZeroes(RANGE.offset, RANGE.length);
      claim.end();
    });
    return { device, below, asked, given };
  }

  it.each(['write', 'batch'])('waits until it is given up, once for all who come (%s)', async (how) => {
    const { device, below, asked, given } = await claimed();
    const write = (offset: number, from: Uint8Array | Uint8Array[]) =>
      how === 'write'
        ? device.write(offset, from)
        : device.writeBatch([
            { offset, from },
            { offset: 0, from: new Uint8Array() },
          ]);
    const mine = [new Uint8Array(2 * K).fill(7), new Uint8Array(2 * K).fill(8)];
    const writes = [write(15 * K, mine), write(20 * K, new Uint8Array(K).fill(9))];
    expect(device.writeNow(20 * K, [new Uint8Array(K)], K)).toBe(false);
    await device.write(0, new Uint8Array(K).fill(2));
    expect(runs(await bytesOf(below, 15 * K, 10 * K))).toEqual([[1, 10 * K]]);
    given.end();
    await Promise.all(writes);
    expect(asked).toEqual([16 * K]);
    expect(runs(await bytesOf(device, 15 * K, 10 * K))).toEqual([
      ...[
        [7, 2 * K],
        [8, 2 * K],
        [0, K],
        [9, K],
        [0, 3 * K],
        [1, K],
      ],
    ]);
  });

  it('has all that it touches given up', async () => {
    const { device, asked, given } = await claimed();
    const other = device.claim({ offset: 32 * K, length: 4 * K }, async (offset) => {
      asked.push(offset);
      other.end();
    });
    given.end();
    await device.write(8 * K, new Uint8Array(32 * K).fill(5));
    expect(asked).toEqual([16 * K, 32 * K]);
    expect(runs(await bytesOf(device, 8 * K, 32 * K))).toEqual([[5, 32 * K]]);
  });

  it('fails where it cannot be given up, and another time it can', async () => {
    const { device, below } = await filled();
    let isStuck = true;
    const claim = device.claim(RANGE, async () => {
      if (isStuck) throw new Error('the list cannot be written');
      claim.end();
    });
    const write = () => device.write(18 * K, new Uint8Array(K).fill(5), { fua: true });
    const both = await Promise.allSettled([write(), write()]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(runs(await bytesOf(below))).toEqual([[1, SIZE]]);
    expect(device.isClaimed(18 * K, K)).toBe(true);
    isStuck = false;
    await write();
    expect(runs(await bytesOf(below, 18 * K, K))).toEqual([[5, K]]);
  });

  it('fails where who made it only says so', async () => {
    const { device } = await filled();
    device.claim(RANGE, async () => {});
    await expect(device.write(18 * K, new Uint8Array(K))).rejects.toThrow('claimed still');
  });
});

it('without claims the caller has what the device below gives', () => {
  const given = Promise.resolve();
  const below = withCalls(new MemoryDevice(SIZE), {
    read: () => given,
    write: () => given,
    trim: () => given,
  });
  const device = new ClaimingDevice(below);
  expect(device.read(0, new Uint8Array(K))).toBe(given);
  expect(device.write(0, new Uint8Array(K))).toBe(given);
  expect(device.trim(0, K)).toBe(given);
});
