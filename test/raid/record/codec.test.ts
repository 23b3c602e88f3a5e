/** Records from bytes and to bytes: what is written is read again as it was, and what is damaged is told. */
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Range } from '../../../src/device/range-set.js';
import {
  decodeRecord,
  describeBits,
  encodeRecord,
  entriesIn,
  HEADER_BYTES,
  isDamagedRecord,
  type RecordContent,
  recordBytes,
} from '../../../src/raid/record/codec.js';
import { RECORD_HEADER } from '../../../src/raid/record/fields.js';
import { UncheckedBytes } from '../../../src/structure.js';
import { chosenSeed } from '../../support/devices/seeded-random.js';

const UUID = new Uint8Array(16).map((_, index) => index);
const SECTOR_BYTES = 512;
const decode = (bytes: Uint8Array, uuid = UUID) => decodeRecord(new UncheckedBytes(bytes, 0), uuid);

/** Ascending and apart. */
const ranges = (unit: number) =>
  fc
    .array(fc.tuple(fc.integer({ min: 1, max: 1 << 20 }), fc.integer({ min: 1, max: 1 << 20 })), {
      maxLength: 60,
    })
    .map((steps) => {
      let at = 0;
      return steps.map(([gap, length]): Range => {
        const start = at + gap;
        at = start + length;
        return { start: start * unit, end: at * unit };
      });
    });

const content: fc.Arbitrary<RecordContent> = fc
  .record({
    follows: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    ahead: fc.bigInt({ min: 1n, max: 2n ** 62n }),
    superblocks: fc.array(
      fc.record({ slot: fc.nat(63), hash: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
      { maxLength: 64 },
    ),
    isClean: fc.boolean(),
    dirty: ranges(1),
    inDoubt: ranges(SECTOR_BYTES),
  })
  .map(({ ahead, ...record }) => ({
    ...record,
    generation: record.follows + ahead,
    dirty: record.isClean ? [] : record.dirty,
  }));

/** Checksums over whatever the header and lists say now. */
function seal(bytes: Uint8Array, length = RECORD_HEADER.at(bytes).number('length')): void {
  const header = RECORD_HEADER.at(bytes);
  header.setNumber('checksum', 0);
  header.setNumber('header_checksum', 0);
  header.setNumber('header_checksum', crc32c(bytes.subarray(0, HEADER_BYTES)));
  header.setNumber('checksum', crc32c(bytes.subarray(0, Math.min(length, bytes.length))));
}

const SAMPLE: RecordContent = {
  generation: 9n,
  follows: 8n,
  isClean: false,
  superblocks: [{ slot: 1, hash: 77n }],
  dirty: [{ start: 3, end: 5 }],
  inDoubt: [{ start: 1024, end: 2048 }],
};

describe('a record', () => {
  it('is read as it was written, in whole blocks', () => {
    fc.assert(
      fc.property(content, (record) => {
        const bytes = encodeRecord(record, UUID);
        const entries = record.superblocks.length + record.dirty.length + record.inDoubt.length;
        expect(bytes.length).toBe(recordBytes(entries));
        expect(bytes.length % 4096).toBe(0);
        expect(entriesIn(bytes.length)).toBeGreaterThanOrEqual(entries);
        expect(decode(bytes)).toEqual(record);
      }),
      { seed: chosenSeed() },
    );
  });

  it('is read from a longer slot, whatever is left of an older one behind it', () => {
    const slot = new Uint8Array(8192).fill(0xa5);
    slot.set(encodeRecord(SAMPLE, UUID));
    expect(decode(slot)).toEqual(SAMPLE);
  });

  it('of which any one byte is another is damaged, or none', () => {
    const whole = encodeRecord(SAMPLE, UUID);
    const length = RECORD_HEADER.at(whole).number('length');
    for (let at = 0; at < length; at++) {
      const bytes = whole.slice();
      bytes[at]! ^= 0x10;
      const found = decode(bytes);
      if (found === null) expect(at).toBeLessThan(24);
      else expect(isDamagedRecord(found), `byte ${at}`).toBe(true);
    }
  });

  it('that was cut short at any sector still says its generations, and is never taken for whole', () => {
    const dirty = Array.from({ length: 200 }, (_, index) => ({ start: 2 * index, end: 2 * index + 1 }));
    const whole = encodeRecord({ ...SAMPLE, dirty }, UUID);
    for (let end = SECTOR_BYTES; end < RECORD_HEADER.at(whole).number('length'); end += SECTOR_BYTES) {
      const torn = new Uint8Array(whole.length);
      torn.set(whole.subarray(0, end));
      expect(decode(torn)).toMatchObject({ header: { generation: 9n, follows: 8n }, isFromLater: false });
    }
  });

  it.each([
    ['nothing', new Uint8Array(4096)],
    ['less than a header', new Uint8Array(511)],
    ['no byte', new Uint8Array(0)],
    ['noise', new Uint8Array(4096).fill(0x5a)],
  ])('is none where %s is', (_, bytes) => {
    expect(decode(bytes)).toBeNull();
  });

  it('of another set is none', () => {
    expect(decode(encodeRecord(SAMPLE, UUID), new Uint8Array(16))).toBeNull();
  });
});

describe('a record with good checksums', () => {
  const forged = (change: (view: ReturnType<(typeof RECORD_HEADER)['at']>, bytes: Uint8Array) => void) => {
    const bytes = encodeRecord(SAMPLE, UUID);
    change(RECORD_HEADER.at(bytes), bytes);
    seal(bytes);
    return decode(bytes);
  };

  it.each([
    ['version', 0],
    ['version', 2],
    ['version', 0xffff_ffff],
    ['incompat', 1],
    ['incompat', 0x8000_0000],
  ] as const)('and %s %i is of a later version', (name, value) => {
    expect(forged((view) => view.setNumber(name, value))).toMatchObject({
      isFromLater: true,
      header: { generation: 9n },
    });
  });

  it('and unknown features that forbid writing is good, and says which', () => {
    const found = forged((view) => view.setNumber('ro_compat', 0x8000_0001));
    expect(found).toEqual({ ...SAMPLE, unknownRoCompat: 0x8000_0001 });
    expect(describeBits(0x8000_0001)).toBe('bits 0 and 31 (0x80000001)');
    expect(describeBits(8)).toBe('bit 3 (0x8)');
  });

  it('and unknown features that may be ignored is good', () => {
    expect(forged((view) => view.setNumber('compat', 0xffff_ffff))).toEqual(SAMPLE);
  });

  it.each([
    ['a length that is not that of its entries', /length/, (view) => view.setNumber('length', 512)],
    ['more entries than it has', /length/, (view) => view.setNumber('dirty', 0xffff_ffff)],
    [
      'counts whose sum is right beyond 32 bits',
      /length/,
      (view) => {
        view.setNumber('superblocks', 0xffff_ffff);
        view.setNumber('dirty', 4);
      },
    ],
    ['a clean flag beside dirty stripes', /clean/, (view) => view.setNumber('flags', 1)],
    ['the last of all generations', /generation/, (view) => view.setBig('generation', 2n ** 64n - 1n)],
    ['a generation that follows itself', /generation/, (view) => view.setBig('follows', 9n)],
  ] as [string, RegExp, (view: ReturnType<(typeof RECORD_HEADER)['at']>) => void][])(
    'and %s is damaged, and says why',
    (_, reason, change) => {
      expect(forged(change)).toMatchObject({ reason: expect.stringMatching(reason), isFromLater: false });
    },
  );

  const entry = (bytes: Uint8Array, index: number) =>
    new DataView(bytes.buffer, HEADER_BYTES + 16 * index, 16);

  it.each([
    ['no stripe', 3n, 0n],
    ['stripes beyond all numbers', 2n ** 64n - 1n, 2n ** 64n - 1n],
    ['so many stripes', 0n, 2n ** 64n - 1n],
    ['a stripe that no number here can hold', 2n ** 53n, 1n],
  ])('and an entry of %s is damaged', (_, stripe, count) => {
    for (const index of [1, 2]) {
      const found = forged((_view, bytes) => {
        entry(bytes, index).setBigUint64(0, stripe, true);
        entry(bytes, index).setBigUint64(8, count, true);
      });
      expect(found).toMatchObject({ reason: 'its lists are not in order' });
    }
  });

  it('and entries that touch, overlap or fall is damaged', () => {
    const two = encodeRecord(
      {
        ...SAMPLE,
        dirty: [
          { start: 3, end: 5 },
          { start: 7, end: 9 },
        ],
      },
      UUID,
    );
    for (const stripe of [5n, 4n, 3n, 0n]) {
      const bytes = two.slice();
      entry(bytes, 2).setBigUint64(0, stripe, true);
      seal(bytes);
      expect(decode(bytes)).toMatchObject({ reason: 'its lists are not in order' });
    }
  });
});
