import { constants } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { type Arena, BufferPool, POOL_PAGE_BYTES, type PoolBuffer } from '../../src/device/pool.js';
import { UserError } from '../../src/errors.js';

const PAGE = POOL_PAGE_BYTES;
const seed = process.env.HOLDFAST_SEED === undefined ? {} : { seed: Number(process.env.HOLDFAST_SEED) };

/** A pool of 64 KiB * pages; its first 4 KiB belong to nobody. */
function smallPool(pages = 1): BufferPool {
  return new BufferPool(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }));
}

async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  promise.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe('the pool', () => {
  test('is one for the process', () => {
    const pool = BufferPool.shared();
    expect(BufferPool.shared()).toBe(pool);
    expect(pool.size).toBeGreaterThanOrEqual(64 * 1024 * 1024);
    expect(pool.memory.buffer.byteLength).toBe(pool.size);
  });

  test('knows its own views and where they lie', () => {
    const pool = smallPool();
    const buffer = pool.arena('a', PAGE).tryAcquire(100)!;
    expect(pool.contains(buffer.bytes)).toBe(true);
    expect(pool.address(buffer.bytes.subarray(7))).toBe(pool.address(buffer.bytes) + 7);
    expect(pool.address(buffer.bytes)).toBeGreaterThan(0);
    expect(pool.contains(new Uint8Array(8))).toBe(false);
    expect(pool.contains(smallPool().arena('b', 1).tryAcquire(1)!.bytes)).toBe(false);
    expect(() => pool.address(new Uint8Array(8))).toThrow('outside the pool');
  });

  test('gives arenas until it is full, and again what a closed one had', () => {
    const pool = smallPool();
    const first = pool.arena('first', 8 * PAGE);
    pool.arena('second', 7 * PAGE);
    expect(() => pool.arena('third', 1)).toThrow(UserError);
    first.close();
    first.close();
    expect(pool.arena('third', 8 * PAGE).capacity).toBe(8 * PAGE);
    expect(() => pool.arena('fourth', 1)).toThrow(/4096 bytes.*"fourth"/);
  });

  test.each([0, -1, 1.5, Number.NaN])('refuses an arena of %s bytes', (bytes) => {
    expect(() => smallPool().arena('odd', bytes)).toThrow(RangeError);
  });

  test('takes back a closed arena only when its last buffer is released', () => {
    const pool = smallPool();
    const arena = pool.arena('all', 15 * PAGE);
    const buffer = arena.tryAcquire(PAGE)!;
    arena.close();
    expect(() => pool.arena('next', 15 * PAGE)).toThrow(UserError);
    buffer.release();
    expect(pool.arena('next', 15 * PAGE).capacity).toBe(15 * PAGE);
  });
});

describe('a buffer', () => {
  test('has exactly the length asked for, starts on a page and is rounded up inside', () => {
    const arena = smallPool().arena('a', 4 * PAGE);
    const one = arena.tryAcquire(1)!;
    const two = arena.tryAcquire(PAGE + 1)!;
    expect(one.bytes.length).toBe(1);
    expect(two.bytes.length).toBe(PAGE + 1);
    expect(one.bytes.byteOffset % PAGE).toBe(0);
    expect(two.bytes.byteOffset % PAGE).toBe(0);
    expect(arena.inUse).toBe(3 * PAGE);
  });

  test('is out of reach after its release, and cannot be released twice', () => {
    const arena = smallPool().arena('a', PAGE);
    const buffer = arena.tryAcquire(10)!;
    buffer.release();
    expect(() => buffer.bytes).toThrow('after its release');
    expect(() => buffer.release()).toThrow('released twice');
    const again = arena.tryAcquire(PAGE)!;
    expect(() => buffer.release()).toThrow('released twice');
    expect(again.bytes.length).toBe(PAGE);
    expect(arena.inUse).toBe(PAGE);
  });

  test('may be read into and written from by the file system, at page offsets and odd ones', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'pool-'));
    const arena = BufferPool.shared().arena('file test', 4 * PAGE);
    const file = await open(join(directory, 'image'), 'w+');
    try {
      const out = arena.tryAcquire(2 * PAGE)!;
      const back = arena.tryAcquire(2 * PAGE)!;
      out.bytes.forEach((_, index, bytes) => {
        bytes[index] = index * 31;
      });
      back.bytes.fill(0);
      expect((await file.write(out.bytes, 0, out.bytes.length, 0)).bytesWritten).toBe(2 * PAGE);
      expect((await file.read(back.bytes, 0, PAGE, 5)).bytesRead).toBe(PAGE);
      expect(back.bytes.slice(0, PAGE)).toEqual(out.bytes.slice(5, PAGE + 5));
      expect(back.bytes.subarray(PAGE).every((byte) => byte === 0)).toBe(true);
      await file.readv([back.bytes.subarray(3, PAGE), back.bytes.subarray(PAGE)], 0);
      expect(back.bytes.slice(3, PAGE)).toEqual(out.bytes.slice(0, PAGE - 3));
      expect(back.bytes.slice(PAGE)).toEqual(out.bytes.slice(PAGE - 3, 2 * PAGE - 3));
      await file.writev([out.bytes.subarray(1, 2), out.bytes.subarray(PAGE)], 0);
      await file.read(back.bytes, 0, PAGE, 0);
      expect(back.bytes[0]).toBe(out.bytes[1]);
      expect(back.bytes.slice(1, PAGE)).toEqual(out.bytes.slice(PAGE, 2 * PAGE - 1));
      out.release();
      back.release();
    } finally {
      arena.close();
      await file.close();
      await rm(directory, { recursive: true });
    }
  });
});

describe('a buffer and O_DIRECT', () => {
  test('go together where the file system has it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'pool-'));
    const arena = BufferPool.shared().arena('direct', 2 * PAGE);
    try {
      const path = join(directory, 'image');
      await writeFile(path, Buffer.alloc(2 * PAGE, 7));
      const file = await openDirect(path);
      const buffer = arena.tryAcquire(PAGE)!;
      buffer.bytes.fill(0);
      expect((await file.read(buffer.bytes, 0, PAGE, PAGE)).bytesRead).toBe(PAGE);
      expect(buffer.bytes.every((byte) => byte === 7)).toBe(true);
      await file.close();
      buffer.release();
    } finally {
      arena.close();
      await rm(directory, { recursive: true });
    }
  });
});

/** Some file systems (older tmpfs) refuse to open with O_DIRECT; nothing depends on alignment there. */
async function openDirect(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_DIRECT);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    return open(path, 'r');
  }
}

describe('an arena', () => {
  test.each([0, -1, 0.5, Number.NaN, PAGE + 1])('refuses a buffer of %s bytes', async (bytes) => {
    const arena = smallPool().arena('one page', PAGE);
    expect(() => arena.tryAcquire(bytes)).toThrow(RangeError);
    await expect(arena.acquire(bytes)).rejects.toThrow('one page');
  });

  test('serves those who wait in their order, and nobody overtakes', async () => {
    const arena = smallPool().arena('a', 4 * PAGE);
    const held = await Promise.all([arena.acquire(2 * PAGE), arena.acquire(PAGE)]);
    const large = arena.acquire(3 * PAGE);
    const small = arena.acquire(PAGE);
    expect(arena.tryAcquire(PAGE)).toBeNull();
    expect(await settled(small)).toBe(false);
    held[1].release();
    expect(await settled(large)).toBe(false);
    held[0].release();
    expect((await large).bytes.length).toBe(3 * PAGE);
    expect((await small).bytes.length).toBe(PAGE);
    expect(arena.inUse).toBe(4 * PAGE);
  });

  test('refuses who waits when it is closed, and all later calls', async () => {
    const arena = smallPool().arena('gone', PAGE);
    const held = await arena.acquire(1);
    const waiting = arena.acquire(1);
    arena.close();
    await expect(waiting).rejects.toThrow('"gone" is closed');
    await expect(arena.acquire(1)).rejects.toThrow('is closed');
    expect(() => arena.tryAcquire(1)).toThrow('is closed');
    held.release();
  });

  test('is whole again after buffers were released in any order', () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [0, 2, 1],
      [1, 0, 2],
    ]) {
      const arena = smallPool().arena('a', 3 * PAGE);
      const held = [1, 2, 3].map(() => arena.tryAcquire(PAGE)!);
      expect(arena.tryAcquire(1)).toBeNull();
      for (const index of order) held[index]!.release();
      expect(arena.tryAcquire(3 * PAGE)!.bytes.length).toBe(3 * PAGE);
    }
  });

  const step = fc.record({
    pages: fc.integer({ min: 1, max: 15 }),
    release: fc.nat(),
    acquires: fc.boolean(),
  });

  test.prop([fc.array(step, { maxLength: 200 })], seed)(
    'never gives out overlapping buffers, refuses only what has no room, and is whole in the end',
    (steps) => {
      const pool = smallPool();
      const arena = pool.arena('a', 15 * PAGE);
      const held: PoolBuffer[] = [];
      for (const { pages, release, acquires } of steps) {
        if (acquires || held.length === 0) acquireChecked(pool, arena, held, pages);
        else held.splice(release % held.length, 1)[0]!.release();
      }
      for (const buffer of held) buffer.release();
      expect(arena.inUse).toBe(0);
      expect(arena.tryAcquire(15 * PAGE)).not.toBeNull();
    },
  );
});

function acquireChecked(pool: BufferPool, arena: Arena, held: PoolBuffer[], pages: number): void {
  const taken = new Array<boolean>(16).fill(false);
  taken[0] = true;
  for (const { bytes } of held)
    taken.fill(true, pool.address(bytes) / PAGE, (pool.address(bytes) + bytes.length) / PAGE);
  const fits = taken.some(
    (_, start) => start + pages <= 16 && !taken.slice(start, start + pages).includes(true),
  );
  const buffer = arena.tryAcquire(pages * PAGE);
  expect(buffer !== null).toBe(fits);
  if (buffer === null) return;
  const first = pool.address(buffer.bytes) / PAGE;
  expect(taken.slice(first, first + pages)).not.toContain(true);
  held.push(buffer);
}
