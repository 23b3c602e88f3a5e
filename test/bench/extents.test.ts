/**
 * The bench of extents, small: what a journal costs in bytes, exactly as the design says. Its times are not looked at.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Counts } from '../../src/bench/bench.js';
import { MIB } from '../../src/bench/bench-array.js';
import { extentsOf } from '../../src/bench/extents.js';
import type { ComparisonResult } from '../../src/bench/measure.js';
import { BENCHES } from '../../src/bench/registry.js';
import { comparisonOf, contenderOf, measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const KIB = 1024;

const SIZES = {
  media: { fileBytes: 12 * MIB, commitBytes: 2 * MIB, largeExtentBytes: 256 * KIB, smallRequests: 32 },
  array: { fileBytes: 12 * MIB, largeExtentBytes: 192 * KIB },
  commits: {
    fileBytes: 2 * MIB,
    singleExtentBytes: [4 * KIB, 64 * KIB],
    singleWrites: 2,
    manyExtentBytes: 64 * KIB,
    manyExtents: [1, 16],
  },
  opening: {
    volumes: new Map([
      ['1 GiB', 1024 * MIB],
      ['1 TiB', MIB * MIB],
    ]),
    fileBytes: MIB,
    command: false,
  },
  filesystems: false,
};

let results: readonly ComparisonResult[] = [];

beforeAll(async () => {
  ({ results } = await measuredOnce(extentsOf(SIZES), join(folder, 'volumes')));
});

function countsOf(title: RegExp, contender: string): Counts {
  return contenderOf(comparisonOf(results, title), contender).countsPerOperation;
}

describe('bytes that reach the media for a byte of the user', () => {
  test('are one in order, and nothing is read', () => {
    expect(countsOf(/^in order/, 'extents of 256 KiB')).toMatchObject({ written: 1, read: 0 });
  });

  test('are as the design has it where ends of a write are parts of extents', () => {
    expect(countsOf(/^at random/, 'extents of 256 KiB, any block').written).toBe(1 + 1 / 16);
    expect(countsOf(/^at random/, 'extents of 256 KiB, worst').written).toBe(1 + 1 / 8);
    expect(countsOf(/^one commit/, 'extents of 4 KiB, any block').written).toBe(1);
    expect(countsOf(/^one commit/, 'extents of 4 KiB, any byte').written).toBe(513 / 512);
  });

  test('are two at most, and fewer where most of an extent is written', () => {
    expect(countsOf(/^4 KiB at random/, 'extents of 4 KiB')).toMatchObject({ written: 1, read: 0 });
    expect(countsOf(/^4 KiB at random/, 'extents of 256 KiB').written).toBe(2);
    expect(countsOf(/^a half/, 'extents of 256 KiB').written).toBe(2);
    expect(countsOf(/^three quarters/, 'extents of 256 KiB').written).toBeCloseTo(4 / 3, 10);
  });

  test('are those of parity beside them on an array, which reads nothing for it', () => {
    for (const contender of ['without a journal', 'file']) {
      for (const title of [/^RAID-5.* of 1152 KiB.*commit$/, /^RAID-5.* of 192 KiB.*meanwhile$/]) {
        const { written, read } = countsOf(title, contender);
        expect(written).toBeCloseTo(4 / 3, 10);
        expect(read).toBe(0);
      }
    }
  });
});

describe('a commit', () => {
  test('of one write costs its block, and where its extent holds others the block once more', () => {
    expect(countsOf(/^one write/, 'extents of 4 KiB')).toMatchObject({ writtenBytes: 4096, readBytes: 0 });
    expect(countsOf(/^one write/, 'extents of 64 KiB')).toMatchObject({
      writtenBytes: 8192,
      readBytes: 4096,
      journalBytes: 64 * KIB,
    });
  });

  test('of many extents has no more barriers on their image than one of a single extent', () => {
    const one = countsOf(/each of 1 extent,/, 'extents of 64 KiB');
    const many = countsOf(/each of 16 extents,/, 'extents of 64 KiB');
    expect(many.writtenBytes).toBe(16 * one.writtenBytes!);
    expect(many.barriers).toBe(one.barriers);
  });
});

test('opening reads as much of a volume of 1 TiB as of one of 1 GiB', () => {
  for (const access of ['for reading', 'for writing'])
    expect(countsOf(/1 TiB$/, access)).toEqual(countsOf(/1 GiB$/, access));
});

test('the bench of extents is among those that are run', () => {
  expect(BENCHES.map(({ name }) => name)).toContain('extents');
});
