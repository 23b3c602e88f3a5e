/** Sizes of extents and blocks, where everything lies, and that metadata has room for what it is counted for. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import {
  extentsFor,
  journalImageBytes,
  journalRegion,
  leastVolumeBytes,
  metadataImageLayout,
  type VolumeShape,
  volumeLayout,
} from '../../../src/extents/format/layout.js';
import { PoolRegions } from '../../../src/extents/format/pool-regions.js';
import { checkSizes, defaultExtentBytes, metadataSize } from '../../../src/extents/format/sizes.js';
import { secondCopyOffset } from '../../../src/extents/format/superblock.js';
import { faultOf, planLayout } from '../../../src/metadata/engine/layout.js';
import { makeEngine } from '../../../src/metadata/engine/make-engine.js';
import { openEngine } from '../../../src/metadata/engine/open-engine.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const single: VolumeShape = {
  blockBytes: 4 * KIB,
  extentBytes: 64 * KIB,
  stripeBytes: null,
  hasMetadataImage: false,
  journalExtents: 0,
};

describe('sizes', () => {
  it.each([
    [null, 4 * KIB, 64 * KIB],
    [192 * KIB, 4 * KIB, 1152 * KIB],
    [128 * KIB, 4 * KIB, MIB],
    [MIB, 4 * KIB, MIB],
    [3 * MIB, 4 * KIB, 3 * MIB],
    [252 * MIB, 4 * KIB, MIB],
    [null, MIB, MIB],
    [192 * KIB, MIB, 3 * MIB],
    [252 * MIB, MIB, MIB],
  ])(
    'stripes of %s bytes and blocks of %i make extents of %i by default',
    (stripeBytes, blockBytes, extentBytes) => {
      expect(defaultExtentBytes(stripeBytes, blockBytes)).toBe(extentBytes);
      checkSizes({ blockBytes, extentBytes });
    },
  );

  it.each([
    [4096, 0],
    [4096, 2048],
    [4096, 4096 + 512],
    [8192, 4096 * 3],
    [4096, 64 * MIB + 4096],
    [512, 64 * MIB],
    [3 * KIB, 12 * KIB],
    [256, 4096],
    [2 * MIB, 4 * MIB],
  ])('blocks of %i and extents of %i cannot be', (blockBytes, extentBytes) => {
    expect(() => checkSizes({ blockBytes, extentBytes })).toThrow(/cannot be/);
  });

  it.each([
    [4096, 64 * MIB],
    [512, 4096],
    [MIB, 64 * MIB],
    [4096, 1152 * KIB],
  ])('blocks of %i and extents of %i can', (blockBytes, extentBytes) => {
    checkSizes({ blockBytes, extentBytes });
  });
});

describe('where everything lies', () => {
  it('is in order, aligned, and within the device, whatever the shape', () =>
    withSeed(async (random) => {
      for (let n = 0; n < 500; n++) {
        const blockBytes = 2 ** random.between(9, 16);
        const unit = Math.max(4096, blockBytes);
        const extentBytes = unit * random.between(1, Math.min(256, (16384 * blockBytes) / unit));
        const stripeBytes = random.chance(0.5) ? null : 4096 * random.between(2, 200);
        const hasMetadataImage = random.chance(0.5);
        const shape = {
          blockBytes,
          extentBytes,
          stripeBytes,
          hasMetadataImage,
          journalExtents: random.between(0, 50),
        };
        const wanted = random.between(2, 5000);
        const deviceBytes = leastVolumeBytes(wanted, shape) + 512 * random.between(0, 9999);
        const { metadata, pool, logBytes } = volumeLayout('it', deviceBytes, shape);
        expect(pool.extents).toBeGreaterThanOrEqual(wanted);
        const end = pool.offset + pool.extents * extentBytes;
        expect(end).toBeLessThanOrEqual(secondCopyOffset(deviceBytes));
        expect(leastVolumeBytes(pool.extents + 1, shape)).toBeGreaterThan(deviceBytes - 4096);
        expect(pool.offset % (stripeBytes ?? extentBytes)).toBe(0);
        expect(metadata === null).toBe(hasMetadataImage);
        expect(pool.offset).toBeGreaterThanOrEqual(
          metadata === null ? 4096 : metadata.offset + metadata.length,
        );
        if (metadata === null) continue;
        expect(metadata.offset).toBeGreaterThanOrEqual(4096);
        const device = new MemoryDevice(metadata.offset + metadata.length);
        expect(faultOf(planLayout({ device, ...metadata }, logBytes))).toBeNull();
      }
    }));

  it('is aligned to whole extents too where one place is both', () => {
    const shape = { ...single, stripeBytes: 192 * KIB, extentBytes: 1152 * KIB };
    expect(volumeLayout('it', 64 * MIB, shape).pool.offset % (1152 * KIB)).toBe(0);
    expect(volumeLayout('it', 64 * MIB, { ...shape, extentBytes: MIB }).pool.offset % (3 * MIB)).toBe(0);
  });

  it('is refused on what is too small, with what is needed: that is enough', () => {
    let leastBytes = 0;
    try {
      volumeLayout('it', MIB, single);
    } catch (error) {
      expect(error).toMatchObject({
        code: 'NO_SPACE',
        message: expect.stringContaining('it has 1048576 bytes'),
      });
      leastBytes = (error as { details: { neededBytes: number } }).details.neededBytes;
    }
    expect(volumeLayout('it', leastBytes, single).pool.extents).toBe(2);
    expect(() => volumeLayout('it', leastBytes - 64 * KIB, single)).toThrow(/or more/);
  });

  it('of a journal image is what it was made for', () => {
    for (const extents of [1, 7, 1000]) {
      const bytes = journalImageBytes(extents, single);
      expect(journalRegion(bytes, 5, single)).toMatchObject({ extents, first: 5 });
      expect(journalRegion(bytes - 512, 5, single).extents).toBe(extents - 1);
    }
    expect(journalRegion(4096, 5, single).extents).toBe(0);
  });

  it('leaves a little for the journal, unless that has an image of its own', () => {
    expect(extentsFor(MIB, single)).toBe(16 + 4);
    expect(extentsFor(640 * MIB, single)).toBe(10_240 + 160);
    expect(extentsFor(MIB, { ...single, journalExtents: 16 })).toBe(16);
    expect(extentsFor(1, { ...single, journalExtents: 16 })).toBe(2);
  });
});

describe('metadata', () => {
  it('of a large volume is a small part of it', () => {
    const sizes = { blockBytes: 4096, extentBytes: 1152 * KIB };
    const extents = Math.floor(1024 ** 4 / sizes.extentBytes);
    expect(metadataSize(extents, sizes).rangeBytes).toBeLessThan(1024 ** 4 / 2000);
  });

  it.each([
    [1000, 64 * KIB],
    [20_000, 4 * KIB],
    [2000, 64 * MIB],
  ])(
    'has room for the maps of %i extents of %i bytes, each of them with a bitmap',
    async (extents, extentBytes) => {
      const sizes = { blockBytes: 4096, extentBytes };
      const { imageBytes, metadata, logBytes } = metadataImageLayout(extents, sizes);
      const range = { device: new MemoryDevice(imageBytes), ...metadata };
      await makeEngine(range, { logBytes });
      const engine = await openEngine(range, { warn: () => undefined });
      const value = new Uint8Array(16 + extentBytes / 4096 / 8).fill(5);
      const changes = [];
      for (let index = 0; index < extents; index++) {
        const key = new Uint8Array(17);
        // In no order, so that pages are as full as they get.
        new DataView(key.buffer).setUint32(1, Math.imul(index, 2_654_435_761) >>> 0);
        changes.push({ key, value });
        if (changes.length === 64 || index === extents - 1) await engine.commit(changes.splice(0));
      }
      await engine.close();
    },
    60_000,
  );
});

describe('a pool', () => {
  it('finds its extents on both of its devices', () => {
    const [data, journal] = [new MemoryDevice(MIB), new MemoryDevice(MIB)];
    const pool = new PoolRegions(single, [
      { device: data, offset: 8192, extents: 3, first: 0 },
      { device: journal, offset: 4096, extents: 2, first: 3 },
    ]);
    expect(pool.extents).toBe(5);
    expect(pool.locate(2)).toEqual({ device: data, offsetBytes: 8192 + 2 * 65536 });
    expect(pool.locate(3)).toEqual({ device: journal, offsetBytes: 4096 });
    expect(() => pool.locate(5)).toThrow('no extent 5');
    expect(pool.targets).toEqual([
      { device: data, from: 0, count: 3 },
      { device: journal, from: 3, count: 2 },
    ]);
    expect(() => new PoolRegions(single, [{ device: data, offset: 0, extents: 1, first: 1 }])).toThrow(
      'begins with extent 1',
    );
  });
});
