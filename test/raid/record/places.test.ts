/** Where records lie: behind all that md has in the gap, before the data, or nowhere. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { makeMembers, SMALL, type TestShape } from '../../../src/lab/self/raid/arrays.js';
import { addBitmap } from '../../../src/lab/self/raid/write-intent-bitmap.js';
import { readBitmapCopy } from '../../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../../src/raid/md/examine.js';
import type { Superblock } from '../../../src/raid/md/model.js';
import {
  fileBytes,
  filePlaces,
  fullSlotBytes,
  memberPlace,
  type RecordPlace,
  SLOTS,
} from '../../../src/raid/record/places.js';
import { addPpl } from '../../support/md-features.js';
import { loadMetadata, metadataCases } from '../../support/md-fixtures.js';

const KIB = 1024;
const MAX_SLOT_BYTES = 64 * KIB;

async function superblockOf(device: MemoryDevice): Promise<Superblock> {
  return (await examineImage(device)).superblocks[0]!;
}

interface Stretch {
  readonly what: string;
  readonly start: number;
  readonly end: number;
}

/** All that md has in the image. */
async function mdHas(device: MemoryDevice, superblock: Superblock): Promise<Stretch[]> {
  const { superOffset, raw, badBlockLog, ppl, dataOffset, memberSizeBytes } = superblock;
  const has = [
    { what: 'superblock', start: superOffset, end: superOffset + raw.byteLength },
    { what: 'data', start: dataOffset, end: dataOffset + memberSizeBytes },
  ];
  if (badBlockLog !== null)
    has.push({
      what: 'bad blocks',
      start: badBlockLog.offset,
      end: badBlockLog.offset + badBlockLog.lengthBytes,
    });
  if (ppl !== null) has.push({ what: 'ppl', start: ppl.offset, end: ppl.offset + ppl.lengthBytes });
  const bitmap = await readBitmapCopy(device, superblock);
  if (bitmap !== null && 'raw' in bitmap)
    has.push({
      what: 'bitmap',
      start: superblock.bitmapOffset!,
      end: superblock.bitmapOffset! + bitmap.raw.length,
    });
  return has;
}

async function expectClear(device: MemoryDevice, superblock: Superblock, place: RecordPlace): Promise<void> {
  const end = place.offset + SLOTS * place.slotBytes;
  for (const { what, ...other } of await mdHas(device, superblock)) {
    expect(end <= other.start || other.end <= place.offset, `${what} at ${other.start} to ${other.end}`).toBe(
      true,
    );
  }
  expect(place.offset % 4096).toBe(0);
  expect(place.slotBytes % 4096).toBe(0);
  expect(place.slotBytes).toBeGreaterThan(0);
  expect(place.slotBytes).toBeLessThanOrEqual(MAX_SLOT_BYTES);
  expect(end).toBeLessThanOrEqual(superblock.dataOffset);
}

async function placesIn(name: string) {
  const { devices } = await loadMetadata(name);
  const found: (RecordPlace | { reason: string })[] = [];
  for (const device of devices) {
    const [superblock] = (await examineImage(device)).superblocks;
    if (superblock !== undefined) found.push(await memberPlace(device, superblock));
  }
  return found;
}

const hasPlace = (found: RecordPlace | { reason: string }): found is RecordPlace => !('reason' in found);

describe('on a member of the real kernel', () => {
  it.each(metadataCases())('%s: the record is clear of all that md has there', async (name) => {
    const { devices } = await loadMetadata(name);
    for (const device of devices) {
      const [superblock] = (await examineImage(device)).superblocks;
      if (superblock === undefined) continue;
      const found = await memberPlace(device, superblock);
      if (hasPlace(found)) await expectClear(device, superblock, found);
      else expect(found.reason).not.toBe('');
    }
  });

  it.each([
    ['chunk-4k', '1.2'],
    ['clean-11', '1.1'],
    ['bitmap-clean', '1.2 with a bitmap'],
    ['bitmap-dirty', '1.2 with a bitmap'],
    ['bitmap-added-later', '1.2 with a bitmap'],
    ['data-offset-3m', '1.2'],
    ['bad-blocks-many', '1.2 with bad blocks'],
    ['no-bad-block-log', '1.2 without a log of bad blocks'],
  ])('%s (%s) there is room', async (name) => {
    const found = await placesIn(name);
    expect(found.length).toBeGreaterThan(0);
    for (const each of found) expect(each).toMatchObject({ slotBytes: expect.any(Number) });
  });

  it.each([
    ['clean-10', /version 1\.0 has no room/],
    ['clean-090', /version 0\.90 has no room/],
    ['data-offset-11-small', /no room for two slots/],
    ['reshape-chunk-cut', /reshape/],
    ['level-linear', /level/],
    ['level-1', /level 1/],
    ['level-6', /level 6/],
  ])('%s there is none, and it says why', async (name, reason) => {
    const found = await placesIn(name);
    expect(found.length).toBeGreaterThan(0);
    for (const each of found) expect(each).toMatchObject({ reason: expect.stringMatching(reason) });
  });
});

describe('on a member that was made here', () => {
  it.each([SMALL, { ...SMALL, chunkBytes: 4096, stripes: 3 }, { ...SMALL, chunkBytes: 4096, stripes: 9000 }])(
    'it begins 36 KiB behind the superblock, whatever the shape (%o)',
    async (shape: TestShape) => {
      const [device] = await makeMembers(shape);
      const superblock = await superblockOf(device!);
      const place = (await memberPlace(device!, superblock)) as RecordPlace;
      expect(place.offset).toBe(40 * KIB);
      await expectClear(device!, superblock, place);
    },
  );

  it('a slot has room for two entries a stripe, and no more than 64 KiB', async () => {
    const slotOf = async (stripes: number) => {
      const [device] = await makeMembers({ ...SMALL, chunkBytes: 4096, stripes });
      return fullSlotBytes(await superblockOf(device!));
    };
    expect(await slotOf(3)).toBe(4 * KIB);
    expect(await slotOf(100)).toBe(8 * KIB);
    expect(await slotOf(1000)).toBe(36 * KIB);
    expect(await slotOf(9000)).toBe(64 * KIB);
  });

  it('it gives way to a bitmap, however long, and to a partial parity log', async () => {
    const shape = { ...SMALL, chunkBytes: 4096, stripes: 20_000 };
    const offsets: number[] = [];
    for (const bitmapChunkBytes of [1024 * KIB, 512]) {
      const devices = await makeMembers(shape);
      await addBitmap(devices, bitmapChunkBytes);
      const superblock = await superblockOf(devices[0]!);
      const place = (await memberPlace(devices[0]!, superblock)) as RecordPlace;
      await expectClear(devices[0]!, superblock, place);
      offsets.push(place.offset);
    }
    expect(offsets[0]).toBe(40 * KIB);
    expect(offsets[1]).toBeGreaterThan(44 * KIB);
    const devices = await makeMembers(SMALL);
    await addPpl(devices);
    const superblock = await superblockOf(devices[0]!);
    const place = (await memberPlace(devices[0]!, superblock)) as RecordPlace;
    await expectClear(devices[0]!, superblock, place);
    expect(place.offset).toBeGreaterThanOrEqual(superblock.ppl!.offset + superblock.ppl!.lengthBytes);
  });

  it('there is none where it cannot be told how long the bitmap is', async () => {
    const devices = await makeMembers(SMALL);
    await addBitmap(devices, 65536);
    const superblock = await superblockOf(devices[0]!);
    await devices[0]!.write(superblock.bitmapOffset!, new Uint8Array(512));
    expect(await memberPlace(devices[0]!, superblock)).toMatchObject({
      reason: expect.stringMatching(/bitmap/),
    });
  });

  it('it becomes smaller where the data begins early, and ends before it', async () => {
    const [device] = await makeMembers({ ...SMALL, chunkBytes: 4096, stripes: 9000 });
    const superblock = await superblockOf(device!);
    for (const [dataOffset, slotBytes] of [
      [47 * KIB, null],
      [48 * KIB, 4 * KIB],
      [55 * KIB, 4 * KIB],
      [56 * KIB, 8 * KIB],
      [168 * KIB, 64 * KIB],
    ] as const) {
      const found = await memberPlace(device!, { ...superblock, dataOffset });
      expect(hasPlace(found) ? found.slotBytes : null, `data at ${dataOffset}`).toBe(slotBytes);
    }
  });
});

it('a file has a place for each copy, of the slots that a member would have', async () => {
  const [device] = await makeMembers(SMALL);
  const superblock = await superblockOf(device!);
  const file = new MemoryDevice(fileBytes(superblock, 2));
  const places = filePlaces(file, superblock, 2);
  const slotBytes = fullSlotBytes(superblock);
  expect(places.map(({ offset }) => offset)).toEqual([0, SLOTS * slotBytes]);
  expect(file.size).toBe(places[1]!.offset + SLOTS * slotBytes);
});
