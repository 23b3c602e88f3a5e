/**
 * The bench of the dirty-stripe record, small: how many records and barriers writes take, exactly. Its speeds are
 * not looked at.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Counts } from '../../src/bench/bench.js';
import { MIB, openBenchArray } from '../../src/bench/bench-array.js';
import type { ComparisonResult } from '../../src/bench/measure.js';
import { recordOf } from '../../src/bench/record.js';
import { differentStripes, fewStripes, STRIPE_BYTES } from '../../src/bench/record-arrays.js';
import { comparisonOf, contenderOf, measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const directory = join(folder, 'arrays');
const COPIES = 2;
const WRITES = new Map([
  [1, 64],
  [8, 128],
  [64, 448],
]);
const FLUSHED_WRITES = 64;
const SEQUENTIAL_MIB = 48;

let results: readonly ComparisonResult[] = [];

beforeAll(async () => {
  const sizes = {
    memberBytes: 32 * MIB,
    writers: WRITES,
    flushers: new Map([
      [1, FLUSHED_WRITES],
      [16, FLUSHED_WRITES],
    ]),
    sequentialRequests: SEQUENTIAL_MIB,
  };
  ({ results } = await measuredOnce(recordOf(sizes), directory));
}, 120_000);

function countsOf(title: string, contender: string): Counts {
  return contenderOf(comparisonOf(results, title), contender).counts;
}

function byWriters(writers: number, contender: string): Counts {
  return countsOf(`4 KiB at random, ${writers} ${writers === 1 ? 'writer' : 'writers'}`, contender);
}

describe('records', () => {
  test.each([...WRITES])('of %i writers are none where all stripes are listed', (writers, writes) => {
    const counts = byWriters(writers, 'listed');
    expect(counts).toMatchObject({ records: 0, writes: 2 * writes, fuaWrites: 0, flushes: 0 });
    expect(counts.recordCopies).toBeUndefined();
  });

  test.each([...WRITES])(
    'of %i writers are two copies each, and all other writes are data',
    (writers, writes) => {
      const { records, recordCopies, fuaWrites, writes: all } = byWriters(writers, 'unlisted');
      expect(records).toBeGreaterThan(0);
      expect(recordCopies).toBe(COPIES * records!);
      expect(fuaWrites).toBe(recordCopies);
      expect(all).toBe(2 * writes + recordCopies!);
    },
  );

  test('are one for each write of an only writer, and at most one for 32 writes of 64', () => {
    expect(byWriters(1, 'unlisted').records).toBe(WRITES.get(1));
    expect(byWriters(8, 'unlisted').records).toBeLessThan(WRITES.get(8)!);
    expect(byWriters(64, 'unlisted').records! * 32).toBeLessThanOrEqual(WRITES.get(64)!);
  });

  test('are few for a stream, and without a record there are none', () => {
    for (const through of ['array', 'volume']) {
      const title = `${through}: 1 MiB in order, 16 in flight`;
      expect(countsOf(title, 'without a record')).toMatchObject({ records: 0, fuaWrites: 0 });
      const { records, recordCopies } = countsOf(title, 'with it');
      expect(recordCopies).toBe(COPIES * records!);
      expect(records).toBeGreaterThan(0);
      expect(records).toBeLessThanOrEqual(SEQUENTIAL_MIB / 4);
    }
  });
});

describe('barriers of a write and a flush', () => {
  const title = '4 KiB and a flush, 1 writer';
  const writes = FLUSHED_WRITES;

  test('of listed stripes are those of two files', () => {
    expect(countsOf(title, 'two files')).toMatchObject({
      fileSyncs: 2 * writes,
      fuaWrites: 0,
      writes: 2 * writes,
    });
    for (const name of ['array, listed', 'volume, listed']) {
      const { records, fileSyncs, fuaWrites } = countsOf(title, name);
      expect([records, fileSyncs! + fuaWrites!]).toEqual([0, 2 * writes]);
    }
  });

  test('of unlisted stripes are those, and the two copies of a record', () => {
    for (const name of ['array, unlisted', 'volume, unlisted']) {
      const { records, fileSyncs, fuaWrites, recordCopies } = countsOf(title, name);
      expect([records, recordCopies]).toEqual([writes, COPIES * writes]);
      expect(fileSyncs! + fuaWrites!).toBe((2 + COPIES) * writes);
    }
  });

  test('are none but the write itself where it is durable when it ends', () => {
    const { fuaWrites, fileSyncs, records } = countsOf(title, 'fua, listed');
    expect([fuaWrites, fileSyncs, records]).toEqual([2 * writes, undefined, 0]);
    expect(countsOf(title, 'fua, unlisted')).toMatchObject({
      fuaWrites: (2 + COPIES) * writes,
      records: writes,
    });
  });

  test('are shared by those that flush at the same time', () => {
    const { fileSyncs, records } = countsOf('4 KiB and a flush, 16 writers', 'volume, unlisted');
    expect(fileSyncs).toBeLessThan(2 * writes);
    expect(records).toBeLessThan(writes);
  });
});

test('the arrays are right after all of it, with the record and without', async () => {
  for (const name of ['kept', 'bare']) {
    const images = [0, 1, 2, 3].map((slot) => join(directory, name, `member-${slot}.img`));
    const { array, close } = await openBenchArray(images, { readOnly: true });
    const { mismatchCount } = await array.scrub({ repair: false });
    expect(mismatchCount).toBe(0);
    await close();
  }
});

test('different stripes are different, few stripes are few, and requests in flight share none', () => {
  const arrayBytes = 96 * MIB;
  const stripeOf = (offset: number) => Math.floor(offset / STRIPE_BYTES);
  const different = differentStripes(448, arrayBytes).map(stripeOf);
  expect(new Set(different).size).toBe(448);
  const few = fewStripes(448, arrayBytes);
  expect(new Set(few).size).toBe(448);
  for (let at = 0; at + 64 <= few.length; at += 64)
    expect(new Set(few.slice(at, at + 64).map(stripeOf)).size).toBe(64);
  expect(new Set(few.map(stripeOf)).size).toBe(64);
});
