/**
 * Superblocks with every field turned to extremes, cut short and at random: whatever is on disk, looking at it
 * neither crashes nor reads outside the image, and what is accepted is safe to use.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { readBadBlocks } from '../../../src/raid/md/bad-blocks.js';
import { readBitmapCopy } from '../../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../../src/raid/md/examine.js';
import { BITMAP_SUPERBLOCK } from '../../../src/raid/md/fields-logs.js';
import { FEATURE, SUPERBLOCK_V1 } from '../../../src/raid/md/fields-superblock.js';
import { SUPERBLOCK_V090 } from '../../../src/raid/md/fields-superblock-v090.js';
import { arrayState, judge } from '../../../src/raid/md/judge.js';
import type { ExaminedImage, Superblock } from '../../../src/raid/md/model.js';
import { readPpl } from '../../../src/raid/md/ppl.js';
import { changeSuperblock } from '../../../src/raid/md/superblock.js';
import { checksumV090 } from '../../../src/raid/md/superblock-v090.js';
import { type Field, fieldBytes } from '../../../src/structure.js';
import { loadMetadata } from '../../support/md-fixtures.js';
import { seeded } from '../../support/seed.js';
import { examineAll, forge, formatOptions, formatted, makeSet, SUPER_OFFSET } from './support/sets.js';

const EXTREMES: Record<number, bigint[]> = {
  1: [0n, 1n, 0x7fn, 0xffn],
  2: [0n, 1n, 0x7fffn, 0x8000n, 0xffffn],
  4: [0n, 1n, 7n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn],
  8: [
    0n,
    1n,
    9n,
    0x7fff_ffff_ffff_ffffn,
    0x8000_0000_0000_0000n,
    0xffff_ffff_ffff_fffen,
    0xffff_ffff_ffff_ffffn,
  ],
};

function store(raw: Uint8Array, field: Field, value: bigint): void {
  const size = fieldBytes(field);
  if (field.type === 'bytes') raw.fill(Number(value & 0xffn), field.offset, field.offset + size);
  else for (let at = 0; at < size; at++) raw[field.offset + at] = Number((value >> BigInt(8 * at)) & 0xffn);
}

function extremesOf(field: Field): bigint[] {
  return EXTREMES[field.type === 'bytes' ? 1 : fieldBytes(field)]!;
}

/** What every user of an accepted superblock relies on. */
function expectSafe(superblock: Superblock, imageSizeBytes: number): void {
  const inImage = (start: number, length: number) => {
    expect(Number.isSafeInteger(start) && start >= 0).toBe(true);
    expect(Number.isSafeInteger(length) && start + length <= imageSizeBytes).toBe(true);
  };
  inImage(superblock.superOffset, superblock.raw.byteLength);
  inImage(superblock.dataOffset, superblock.dataSizeBytes);
  const { bitmapOffset, ppl, badBlockLog } = superblock;
  if (bitmapOffset !== null) inImage(bitmapOffset, 512);
  if (ppl !== null) inImage(ppl.offset, ppl.lengthBytes);
  if (badBlockLog !== null) inImage(badBlockLog.offset, badBlockLog.lengthBytes);
  for (const progress of [superblock.resyncOffset, superblock.recoveryOffset]) {
    if (progress !== null) expect(progress >= 0 && progress <= superblock.memberSizeBytes).toBe(true);
  }
  if (superblock.level !== 5) return;
  expect(superblock.memberSizeBytes).toBeLessThanOrEqual(superblock.dataSizeBytes);
  expect(superblock.chunkBytes & (superblock.chunkBytes - 1)).toBe(0);
  expect(superblock.chunkBytes).toBeGreaterThanOrEqual(4096);
  expect(superblock.layout).toBeLessThan(6);
  expect(superblock.raidDisks).toBeGreaterThanOrEqual(2);
}

/** Looks at everything that the superblock of `device` leads to, and judges it beside the good `others`. */
async function useAll(device: MemoryDevice, others: readonly ExaminedImage[]): Promise<void> {
  const own = await examineImage(device);
  const images = [...others, own];
  for (const image of [own]) {
    for (const found of image.damaged) expect(found.reason).not.toBe('');
    for (const superblock of image.superblocks) {
      if (superblock.roles[superblock.deviceNumber] !== 'journal') expectSafe(superblock, image.device.size);
      await readBadBlocks(image.device, superblock);
      await readBitmapCopy(image.device, superblock);
      if (superblock.ppl !== null) await readPpl(image.device, superblock);
      expect(changeSuperblock(superblock, {}).raw).toEqual(superblock.raw);
    }
  }
  const judgement = judge(images);
  arrayState(judgement);
  expect(judgement.members.filter((member) => member.image !== null)).toHaveLength(images.length);
  for (const member of judgement.members) if (member.state !== 'in-sync') expect(member.reason).not.toBe('');
  for (const refusal of judgement.refusals) expect(refusal.message && refusal.hint).not.toBe('');
}

/** The members of a good array but for slot 2. */
const others = await examineAll((await makeSet()).filter((_, slot) => slot !== 2));

describe('version 1', () => {
  const fields = SUPERBLOCK_V1.fields.filter((field) => field.name !== 'sb_csum');
  it.each(fields.map((field) => [field.name, field] as const))('%s at its extremes', async (_, field) => {
    for (const features of [
      0,
      FEATURE.bitmap,
      FEATURE.multiplePpls,
      FEATURE.badBlocks,
      FEATURE.recoveryOffset,
      FEATURE.reshape,
    ]) {
      for (const value of extremesOf(field)) {
        const device = await formatted(formatOptions(2));
        await forge(device, (view, raw) => {
          view.setNumber('feature_map', features);
          store(raw, field, value);
        });
        await useAll(device, others);
      }
    }
  });

  it('all fields at random, several at once', async () => {
    const field = fc.constantFrom(...fields);
    const edit = field.chain((each) =>
      fc.tuple(fc.constant(each), fc.oneof(fc.constantFrom(...extremesOf(each)), fc.bigInt(0n, 1n << 64n))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 6 }), async (edits) => {
        const device = await formatted(formatOptions(2));
        await forge(device, (_, raw) => {
          for (const [each, value] of edits) store(raw, each, value);
        });
        await useAll(device, others);
      }),
      seeded({ numRuns: 400 }),
    );
  });

  it('a wrong checksum, one bit at a time, is damage', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 511 }), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const device = await formatted(formatOptions(2));
        const raw = new Uint8Array(512);
        await device.read(SUPER_OFFSET, raw);
        raw[at]! ^= 1 << bit;
        await device.write(SUPER_OFFSET, raw);
        expect((await examineImage(device)).superblocks).toEqual([]);
      }),
      seeded({ numRuns: 200 }),
    );
  });
});

describe('version 0.90', () => {
  const fields = SUPERBLOCK_V090.fields.filter((field) => field.name !== 'sb_csum');
  it.each(fields.map((field) => [field.name, field] as const))('%s at its extremes', async (_, field) => {
    for (const value of extremesOf(field)) {
      const { devices } = await loadMetadata('clean-090');
      const device = devices[1]!;
      const at = (await examineImage(device)).superblocks[0]!.superOffset;
      const raw = new Uint8Array(4096);
      await device.read(at, raw);
      store(raw, field, value);
      SUPERBLOCK_V090.at(raw).setNumber('sb_csum', checksumV090(raw));
      await device.write(at, raw);
      await useAll(device, await examineAll(devices.filter((each) => each !== device)));
    }
  });
});

describe('the bitmap', () => {
  it.each(BITMAP_SUPERBLOCK.fields.map((field) => [field.name, field] as const))(
    '%s at its extremes',
    async (_, field) => {
      for (const value of extremesOf(field)) {
        const { devices } = await loadMetadata('bitmap-dirty');
        const device = devices[0]!;
        const superblock = (await examineImage(device)).superblocks[0]!;
        const raw = new Uint8Array(512);
        await device.read(superblock.bitmapOffset!, raw);
        store(raw, field, value);
        await device.write(superblock.bitmapOffset!, raw);
        await useAll(device, await examineAll(devices.filter((each) => each !== device)));
      }
    },
  );
});

describe('images of any size', () => {
  it('with nothing or noise in them are no members', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 400 }),
        fc.boolean(),
        fc.uint8Array({ minLength: 512, maxLength: 512 }),
        async (sectors, noisy, noise) => {
          const device = new MemoryDevice(sectors * 512);
          if (noisy) for (let at = 0; at < sectors; at++) await device.write(at * 512, noise);
          const found = await examineImage(device);
          expect(found.superblocks).toEqual([]);
          expect(judge([found]).refusals[0]?.code).toBe('NO_SUPERBLOCK');
        },
      ),
      seeded({ numRuns: 100 }),
    );
  });
});
