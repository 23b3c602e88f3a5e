/**
 * What stands between an image and who repairs it: it is a block device, keeps all that is overwritten before it is
 * overwritten, and what it kept gives the image back.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { readUndo } from '../../src/check/undo/read-undo.js';
import { applyUndo } from '../../src/check/undo/revert.js';
import { type UndoDevice, UndoImages } from '../../src/check/undo/undo-device.js';
import { UndoFile } from '../../src/check/undo/undo-file.js';
import type { BlockDevice, Buffers } from '../../src/device/contract.js';
import { systemCalls } from '../../src/device/file-calls.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { RangeSet } from '../../src/device/range-set.js';
import { describeBlockDevice, errorOf, SMALLEST_SIZE } from '../conformance/block-device.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const UUID = '00000000:00000000:00000000:0000000a';
const SIZE = 256 * 1024;
const folder = await temporaryFolder();
let count = 0;

afterEach(() => vi.restoreAllMocks());

function newUndo(): Promise<UndoFile> {
  return UndoFile.create(join(folder, `undo-${count++}`), UUID);
}

async function contentOf(device: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.size);
  await device.read(0, bytes);
  return bytes;
}

async function filled(random: SeededRandom, name: string): Promise<MemoryDevice> {
  const device = new MemoryDevice(SIZE, { name });
  await device.write(64 * 1024, random.bytes(128 * 1024));
  return device;
}

describeBlockDevice('UndoDevice', {
  make: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-undo-'));
    const undo = await UndoFile.create(join(directory, 'undo'), UUID);
    const image = new FaultyDevice(new MemoryDevice(SMALLEST_SIZE), { seed: 3, maxDelayTurns: 3 });
    const device = new UndoImages(undo, null).over(image);
    return {
      device,
      failNextFlush: () => void image.addRule({ operations: ['flush'], nth: 1 }),
      cleanup: async () => {
        await device.close();
        await undo.close();
        await rm(directory, { recursive: true });
      },
    };
  },
  supports: { holes: true, failingFlush: true },
});

describe('what was kept', () => {
  it('gives images back, whatever was done to them at the same time', async () => {
    await withSeed(async (random) => {
      const undo = await newUndo();
      const images = [await filled(random, 'a'), await filled(random, 'b')];
      const before = await Promise.all(images.map(contentOf));
      const over = new UndoImages(undo, null);
      for (let opening = 0; opening < 2; opening++) {
        const devices = images.map((image) => over.over(image));
        for (let step = 0; step < 10; step++)
          await Promise.all(devices.map((device) => changes(device, random)));
      }
      await undo.close();
      const after = await Promise.all(images.map(contentOf));
      expect(after.some((bytes, index) => Buffer.compare(bytes, before[index]!) !== 0)).toBe(true);
      const content = await readUndo(undo.path);
      expect(content).toMatchObject({ isTorn: false, damagedAt: null, header: { volumeUuid: UUID } });
      const byPath = content.images.map(({ facts }) => images.find(({ name }) => name === facts.path)!);
      // Twice: a revert that was cut is made again.
      await applyUndo(content, byPath);
      await applyUndo(content, byPath);
      for (const [index, image] of images.entries())
        expect(Buffer.compare(await contentOf(image), before[index]!)).toBe(0);
    });
  });

  it('is kept once, however often it is overwritten', async () => {
    const undo = await newUndo();
    const device = new UndoImages(undo, null).over(new MemoryDevice(SIZE, { name: 'a' }));
    const bytes = new Uint8Array(8192).fill(7);
    await device.write(0, bytes);
    const { sizeBytes } = undo;
    await device.write(4096, bytes.subarray(0, 4096));
    expect(undo.sizeBytes).toBe(sizeBytes);
    await device.write(4096, bytes);
    expect(undo.sizeBytes).toBeGreaterThan(sizeBytes);
    await undo.close();
    const kept = new RangeSet();
    for (const { offset, length } of (await readUndo(undo.path)).stretches) {
      expect(kept.overlaps(offset, offset + length)).toBe(false);
      kept.add(offset, offset + length);
    }
    expect(kept.list()).toEqual([{ start: 0, end: 12288 }]);
  });

  it('shares its fsyncs among writes that come together', async () => {
    const undo = await newUndo();
    const device = new UndoImages(undo, null).over(new MemoryDevice(SIZE, { name: 'a' }));
    const syncs = vi.spyOn(systemCalls, 'fdatasync');
    await Promise.all(
      Array.from({ length: 64 }, (_, index) => device.write(index * 512, new Uint8Array(512))),
    );
    expect(syncs.mock.calls.length).toBeLessThan(32);
    await undo.close();
  });

  it('leaves out what cannot be read, and has what is beside it', async () => {
    const undo = await newUndo();
    const image = new MemoryDevice(SIZE, { name: 'a' });
    await image.write(0, new Uint8Array(8192).fill(5));
    const faulty = new FaultyDevice(image);
    faulty.addRule({ operations: ['read'], range: { offset: 1024, length: 512 } });
    const device = new UndoImages(undo, null).over(faulty);
    await device.write(0, new Uint8Array(4096).fill(6));
    await undo.close();
    const content = await readUndo(undo.path);
    await applyUndo(content, [image]);
    const expected = new Uint8Array(4096).fill(5).fill(6, 1024, 1536);
    expect(Buffer.from((await contentOf(image)).subarray(0, 4096)).equals(expected)).toBe(true);
  });
});

/** Some at once, apart from each other. */
async function changes(device: BlockDevice, random: SeededRandom): Promise<void> {
  const part = SIZE / 4;
  await Promise.all(
    Array.from({ length: 4 }, async (_, index) => {
      const sectors = random.between(1, 40);
      const offset = index * part + random.below(part / 512 - sectors) * 512;
      const kind = random.below(4);
      if (kind === 0) await device.writeZeroes(offset, sectors * 512);
      else if (kind === 1) await device.trim(offset, sectors * 512);
      else await device.write(offset, random.bytes(sectors * 512), { fua: kind === 2 });
    }),
  );
}

describe('order', () => {
  /** Looks, at every change, whether the file on disk has what is about to be overwritten. */
  class Watched extends MemoryDevice {
    undo = '';
    synced = true;

    override async write(offset: number, from: Buffers): Promise<void> {
      await this.check(offset, (from as Uint8Array).byteLength);
      await super.write(offset, from);
    }

    override async writeZeroes(offset: number, length: number): Promise<void> {
      await this.check(offset, length);
      await super.writeZeroes(offset, length);
    }

    async check(offset: number, length: number): Promise<void> {
      expect(this.synced).toBe(true);
      const kept = new RangeSet();
      for (const stretch of (await readUndo(this.undo)).stretches)
        kept.add(stretch.offset, stretch.offset + stretch.length);
      expect(kept.covers(offset, offset + length)).toBe(true);
    }
  }

  it('nothing is overwritten before it is in the file, and the file flushed', async () => {
    const undo = await newUndo();
    const image = new Watched(SIZE, { name: 'a' });
    image.undo = undo.path;
    const { write, fdatasync } = systemCalls;
    vi.spyOn(systemCalls, 'write').mockImplementation((...call) => {
      image.synced = false;
      return write(...call);
    });
    vi.spyOn(systemCalls, 'fdatasync').mockImplementation(async (fd) => {
      await fdatasync(fd);
      image.synced = true;
    });
    const device = new UndoImages(undo, null).over(image);
    await device.write(0, new Uint8Array(4096).fill(1));
    await device.writeZeroes(2048, 8192);
    await device.write(65536, new Uint8Array(512).fill(2), { fua: true });
    await undo.close();
  });
});

describe('an undo file that cannot be written', () => {
  const failures = [
    ['write', 'ENOSPC', 'NO_SPACE'],
    ['write', 'EIO', 'IO_ERROR'],
    ['fdatasync', 'EIO', 'IO_ERROR'],
  ] as const;

  it.each(failures)(
    'for %s with %s stops every change, and is no failure of the image',
    async (call, name, code) => {
      const undo = await newUndo();
      const image = new MemoryDevice(SIZE, { name: 'a' });
      const device = new UndoImages(undo, null).over(image);
      await device.write(0, new Uint8Array(512).fill(1));
      const before = await contentOf(image);
      const failure = Object.assign(new Error(`${name}: made to fail`), { code: name, syscall: call });
      vi.spyOn(systemCalls, call).mockRejectedValueOnce(failure);
      for (const change of [
        () => device.write(4096, new Uint8Array(512).fill(2)),
        () => device.write(8192, new Uint8Array(512).fill(2), { fua: true }),
        () => device.writeZeroes(0, 8192),
        () => device.trim(4096, 4096),
      ]) {
        const error = await errorOf(change());
        // What the array takes for a member that has failed would be put out of it.
        expect(error.code).toBe('NO_SPACE');
        expect(error.message).toContain(undo.path);
      }
      expect(undo.failure).toMatchObject({ code, details: { file: undo.path } });
      expect(Buffer.compare(await contentOf(image), before)).toBe(0);
      await undo.close();
    },
  );

  it('because there is a file of that name leaves that alone', async () => {
    const path = join(folder, `undo-${count++}`);
    await writeFile(path, 'mine');
    await expect(UndoFile.create(path, UUID)).rejects.toMatchObject({
      code: 'NOT_BLANK',
      details: { file: path },
    });
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  it('because its directory is not there is said', async () => {
    const path = join(folder, 'nowhere', 'undo');
    await expect(UndoFile.create(path, UUID)).rejects.toMatchObject({
      code: 'IO_ERROR',
      details: { file: path },
    });
  });
});

it('an image is known by its name over several openings', async () => {
  const undo = await newUndo();
  const over = new UndoImages(undo, null);
  const image = new MemoryDevice(SIZE, { name: 'a' });
  for (const value of [1, 2]) {
    const device: UndoDevice = over.over(image);
    await device.write(0, new Uint8Array(512).fill(value));
  }
  await undo.close();
  const { images, stretches } = await readUndo(undo.path);
  expect(images.map(({ facts }) => facts.path)).toEqual(['a']);
  expect(stretches).toHaveLength(1);
});
