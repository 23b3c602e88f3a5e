/** The bad block log: what is noted is what is listed, on disk and back, and a full log says so. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeSet } from '../../../src/device/range-set.js';
import { BadBlocks, decodeBadBlocks } from '../../../src/raid/md/bad-blocks.js';
import { UncheckedBytes } from '../../../src/structure.js';
import { seeded } from '../../support/seed.js';

const DATA_OFFSET = 1024 * 1024;
const PLACE = { offset: 12288, lengthBytes: 4096, shift: 0 };

function log(shift = 0, lengthBytes = 4096): BadBlocks {
  return new BadBlocks(DATA_OFFSET, { ...PLACE, shift, lengthBytes });
}

function readBack(badBlocks: BadBlocks, shift = 0): BadBlocks {
  const decoded = decodeBadBlocks(new UncheckedBytes(badBlocks.encode(), 0), DATA_OFFSET, {
    ...PLACE,
    shift,
  });
  if ('reason' in decoded) throw new Error(decoded.reason);
  return decoded;
}

/** A log as the kernel writes it: [sector of the image, length]. */
function stored(...entries: [bigint, bigint][]): Uint8Array {
  const bytes = new Uint8Array(4096).fill(0xff);
  const view = new DataView(bytes.buffer);
  for (const [index, [sector, length]] of entries.entries())
    view.setBigUint64(index * 8, (sector << 10n) | length, true);
  return bytes;
}

function decode(bytes: Uint8Array): ReturnType<typeof decodeBadBlocks> {
  return decodeBadBlocks(new UncheckedBytes(bytes, 4096), DATA_OFFSET, PLACE);
}

describe('the log on disk', () => {
  it('counts from the start of the image, and needs not be in order', () => {
    const found = decode(stored([3000n, 8n], [4608n, 188n], [4096n, 512n])) as BadBlocks;
    expect(found.list()).toEqual([
      { start: 3000 * 512 - DATA_OFFSET, end: 3008 * 512 - DATA_OFFSET },
      { start: 4096 * 512 - DATA_OFFSET, end: 4796 * 512 - DATA_OFFSET },
    ]);
  });

  it('ends at the first entry of all ones; an entry of length 0 says nothing', () => {
    const bytes = stored([3000n, 0n], [3100n, 1n]);
    new DataView(bytes.buffer).setBigUint64(24, (5000n << 10n) | 1n, true);
    expect((decode(bytes) as BadBlocks).list()).toHaveLength(1);
  });

  it('has ranges of more than 512 sectors in several entries', () => {
    const badBlocks = log();
    expect(badBlocks.add(0, 1100 * 512)).toBe(true);
    const view = new DataView(badBlocks.encode().buffer);
    const lengths = [0, 8, 16, 24]
      .map((at) => view.getBigUint64(at, true))
      .map((entry) => Number(entry & 1023n));
    expect(lengths).toEqual([512, 512, 76, 1023]);
    expect(readBack(badBlocks).list()).toEqual([{ start: 0, end: 1100 * 512 }]);
  });

  it('that names what no image has is damaged', () => {
    expect(decode(stored([(1n << 54n) - 2n, 1n]))).toHaveProperty('reason');
  });

  it('keeps what lies before the data, though it is not shown', () => {
    const found = decode(stored([16n, 8n], [3000n, 8n])) as BadBlocks;
    expect(found.list()).toHaveLength(1);
    expect(found.encode()).toEqual(stored([16n, 8n], [3000n, 8n]));
  });
});

describe('noting and clearing', () => {
  it('whole units: noting rounds out, clearing rounds in', () => {
    const badBlocks = log(3);
    badBlocks.add(512, 1024);
    expect(badBlocks.list()).toEqual([{ start: 0, end: 4096 }]);
    badBlocks.remove(0, 4095);
    expect(badBlocks.list()).toEqual([{ start: 0, end: 4096 }]);
    badBlocks.remove(0, 4096);
    expect(badBlocks.isEmpty).toBe(true);
  });

  it('says when the log is full, and then changes nothing', () => {
    const badBlocks = log(0, 512);
    for (let at = 0; at < 64; at++) expect(badBlocks.add(at * 8192, at * 8192 + 512)).toBe(true);
    const before = badBlocks.list();
    expect(badBlocks.add(64 * 8192, 64 * 8192 + 512)).toBe(false);
    expect(badBlocks.list()).toEqual(before);
    // Widening what is listed needs no entry more.
    expect(badBlocks.add(0, 1024)).toBe(true);
  });

  it('says when a range cannot be split, and keeps it bad', () => {
    const badBlocks = log(0, 512);
    for (let at = 0; at < 64; at++) badBlocks.add(at * 8192, at * 8192 + 1536);
    expect(badBlocks.remove(512, 1024)).toBe(false);
    expect(badBlocks.overlaps(512, 1024)).toBe(true);
    expect(badBlocks.remove(0, 1536)).toBe(true);
  });

  it('without a log nothing can be noted', () => {
    const none = new BadBlocks(DATA_OFFSET, null);
    expect(none.hasLog).toBe(false);
    expect(none.add(0, 512)).toBe(false);
    expect(none.remove(0, 512)).toBe(true);
    expect(() => none.encode()).toThrow();
  });

  it('does what a set of ranges does, and survives the disk', () => {
    const step = fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 1500 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const badBlocks = log();
        const expected = new RangeSet();
        for (const [add, sector, length] of steps) {
          const [start, end] = [sector * 512, (sector + length) * 512];
          if (add ? badBlocks.add(start, end) : badBlocks.remove(start, end)) {
            if (add) expected.add(start, end);
            else expected.remove(start, end);
          }
        }
        expect(badBlocks.list()).toEqual(expected.list());
        expect(readBack(badBlocks).list()).toEqual(expected.list());
      }),
      seeded({ numRuns: 100 }),
    );
  });
});
