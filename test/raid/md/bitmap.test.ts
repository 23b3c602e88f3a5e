/** The write-intent bitmap: the union of copies, when it is not to be believed, and which pages are written. */
import { describe, expect, it } from 'vitest';
import { WriteIntentBitmap } from '../../../src/raid/md/bitmap.js';
import { type BitmapCopy, bitmapBytes, readBitmapCopy } from '../../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../../src/raid/md/examine.js';
import { BITMAP_MAGIC, BITMAP_STATE, BITMAP_SUPERBLOCK } from '../../../src/raid/md/fields-logs.js';
import { loadArray, loadMetadata } from '../../support/md-fixtures.js';

const CHUNK = 4096;
const MEMBER_BYTES = 40_000 * CHUNK - 512;

function copy(image: string, bits: readonly number[], changes: Partial<BitmapCopy> = {}): BitmapCopy {
  const count = 40_000;
  const raw = new Uint8Array(bitmapBytes(count));
  const view = BITMAP_SUPERBLOCK.at(raw);
  view.setNumber('magic', BITMAP_MAGIC);
  view.setNumber('version', 4);
  view.setBig('events', changes.events ?? 20n);
  view.setNumber('state', BITMAP_STATE.stale | BITMAP_STATE.writeError);
  for (const bit of bits) raw[256 + (bit >> 3)]! |= 1 << (bit & 7);
  return {
    image,
    version: 4,
    events: 20n,
    eventsCleared: 20n,
    markedStale: false,
    chunkBytes: CHUNK,
    bits: count,
    raw,
    ...changes,
  };
}

const OF = { events: 20n, memberSizeBytes: MEMBER_BYTES };

describe('what is set', () => {
  it('is the union of the copies, joined, up to the end of the data', () => {
    const bitmap = new WriteIntentBitmap([copy('a', [0, 1, 7]), copy('b', [2, 39_999])], OF);
    expect(bitmap.dirtyRanges()).toEqual([
      { start: 0, end: 3 * CHUNK },
      { start: 7 * CHUNK, end: 8 * CHUNK },
      { start: 39_999 * CHUNK, end: MEMBER_BYTES },
    ]);
    expect(bitmap.distrusted).toBeNull();
  });

  it.each<[string, Partial<BitmapCopy>]>([
    ['fewer events than the array', { events: 19n }],
    ['a stale mark', { markedStale: true }],
    ['another chunk', { chunkBytes: 8192 }],
  ])('is all of it where a copy has %s', (_, changes) => {
    const bitmap = new WriteIntentBitmap([copy('a', []), copy('b', [], changes)], OF);
    expect(bitmap.dirtyRanges()).toEqual([{ start: 0, end: MEMBER_BYTES }]);
    expect(bitmap.distrusted).toContain('of b');
  });

  it('is believed with more events than the array: it is written before the superblocks', () => {
    expect(new WriteIntentBitmap([copy('a', [3], { events: 21n })], OF).dirtyRanges()).toHaveLength(1);
  });
});

describe('what is written', () => {
  it('is the pages that changed, once', () => {
    const bitmap = new WriteIntentBitmap([copy('a', [])], OF);
    expect(bitmap.takeChangedPages()).toEqual([]);
    // Bit 30720 is the first of the second page: 256 bytes of superblock and 3840 of bits come before.
    expect(bitmap.setRange(30_719 * CHUNK, 30_720 * CHUNK + 1)).toBe(true);
    const pages = bitmap.takeChangedPages();
    expect(pages.map((page) => [page.offset, page.bytes.byteLength])).toEqual([
      [0, 4096],
      [4096, bitmapBytes(40_000) - 4096],
    ]);
    expect(pages[0]!.bytes.at(-1)).toBe(0x80);
    expect(pages[1]!.bytes[0]).toBe(0x01);
    expect(bitmap.takeChangedPages()).toEqual([]);
    expect(bitmap.setRange(30_720 * CHUNK, 30_721 * CHUNK)).toBe(false);
    bitmap.markAllChanged();
    expect(bitmap.takeChangedPages()).toHaveLength(2);
  });

  it('ends with the sector of the last bit: behind it is somebody else', () => {
    expect(bitmapBytes(1)).toBe(512);
    expect(bitmapBytes(256 * 8)).toBe(512);
    expect(bitmapBytes(256 * 8 + 1)).toBe(1024);
  });

  it('clears only what lies wholly in a range', () => {
    const bitmap = new WriteIntentBitmap([copy('a', [0, 1, 2, 39_999])], OF);
    bitmap.clearRange(1, 3 * CHUNK - 1);
    expect(bitmap.dirtyRanges().map((range) => range.start)).toEqual([0, 2 * CHUNK, 39_999 * CHUNK]);
    bitmap.clearRange(39_999 * CHUNK, MEMBER_BYTES);
    expect(bitmap.dirtyRanges()).toHaveLength(2);
    expect(bitmap.clearAll()).toBe(true);
    expect(bitmap.isClear).toBe(true);
  });

  it('takes new events into the first page, and is not stale any more', () => {
    const bitmap = new WriteIntentBitmap([copy('a', [])], OF);
    bitmap.setEvents(21n, 19n);
    const [page] = bitmap.takeChangedPages();
    const view = BITMAP_SUPERBLOCK.at(page!.bytes);
    expect([view.big('events'), view.big('events_cleared'), view.number('state')]).toEqual([21n, 19n, 0]);
  });
});

describe("the kernel's", () => {
  it('names every row whose parity the power cut left wrong', async () => {
    const { devices, expect: facts } = await loadArray('dirty-bitmap');
    const copies: BitmapCopy[] = [];
    for (const device of devices) {
      const found = await readBitmapCopy(device, (await examineImage(device)).superblocks[0]!);
      if (found === null || 'reason' in found) throw new Error(found?.reason ?? 'no bitmap');
      copies.push(found);
    }
    const bitmap = new WriteIntentBitmap(copies, { events: 19n, memberSizeBytes: 14336 * 512 });
    for (const row of facts.bad_rows!) {
      expect(bitmap.dirtyRanges().some(({ start, end }) => start <= row * 4096 && row * 4096 < end)).toBe(
        true,
      );
    }
    // member-c has one bit less: the cut came while it was being set.
    expect(
      new WriteIntentBitmap([copies[2]!], { events: 19n, memberSizeBytes: 14336 * 512 }).dirtyRanges(),
    ).not.toEqual(bitmap.dirtyRanges());
    bitmap.markAllChanged();
    expect(bitmap.takeChangedPages()[0]!.bytes.subarray(0, 256)).toEqual(copies[0]!.raw.subarray(0, 256));
  });

  it('is refused of a cluster, of another array, and where it would overlap', async () => {
    const { devices } = await loadMetadata('bitmap-dirty');
    const device = devices[0]!;
    const superblock = (await examineImage(device)).superblocks[0]!;
    const raw = new Uint8Array(512);
    await device.read(superblock.bitmapOffset!, raw);
    const view = BITMAP_SUPERBLOCK.at(raw);
    const withChange = async (edit: () => void) => {
      edit();
      await device.write(superblock.bitmapOffset!, raw);
      return readBitmapCopy(device, superblock);
    };
    expect(await readBitmapCopy(device, superblock)).not.toHaveProperty('reason');
    expect(await withChange(() => view.setNumber('version', 5))).toMatchObject({
      reason: expect.stringContaining('cluster'),
    });
    expect(await withChange(() => view.setNumber('version', 6))).toHaveProperty('reason');
    view.setNumber('version', 4);
    await device.write(superblock.bitmapOffset!, raw);
    const stranger = { ...superblock, setUuid: '00000000:00000000:00000000:00000001' };
    expect(await readBitmapCopy(device, stranger)).toMatchObject({
      reason: expect.stringContaining('another array'),
    });
    const tight = { ...superblock, dataOffset: superblock.bitmapOffset! + 512 };
    expect(await withChange(() => view.setNumber('chunksize', 512))).not.toHaveProperty('reason');
    expect(await readBitmapCopy(device, tight)).toMatchObject({
      reason: expect.stringContaining('overlaps the data'),
    });
  });
});
