/**
 * The bench of recovery, small: what a recovery reads and writes hangs on the stripes that were dirty, byte for
 * byte, and not on the size of the volume. Its times are not looked at.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Counts } from '../../src/bench/bench.js';
import { MIB } from '../../src/bench/bench-array.js';
import type { ComparisonResult } from '../../src/bench/measure.js';
import { recoveryOf } from '../../src/bench/recovery.js';
import { BENCHES } from '../../src/bench/registry.js';
import { comparisonOf, contenderOf, measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const GIB = 1024 * MIB;
const CHUNK_BYTES = 64 * 1024;
const MEMBERS = 4;

const SIZES = {
  volumes: new Map([
    ['1 GiB', GIB],
    ['64 GiB', 64 * GIB],
    ['1 TiB', 1024 * GIB],
  ]),
  dirtyStripes: 100,
  counted: { volume: '64 GiB', dirtyStripes: [1, 10, 100] },
  command: false,
};

let results: readonly ComparisonResult[] = [];

beforeAll(async () => {
  ({ results } = await measuredOnce(recoveryOf(SIZES), join(folder, 'volumes')));
});

function countsOf(title: string, contender: string): Counts {
  return contenderOf(comparisonOf(results, title), contender).counts;
}

describe('a recovery', () => {
  test('reads and writes as much in 1 TiB as in 1 GiB, with as many stripes dirty', () => {
    const smallest = countsOf('100 dirty stripes', 'recover, 1 GiB');
    for (const volume of SIZES.volumes.keys())
      expect(countsOf('100 dirty stripes', `recover, ${volume}`)).toEqual(smallest);
    expect(countsOf('100 dirty stripes of 64 GiB', 'recover')).toEqual(smallest);
  });

  test('reads each dirty stripe once and writes its parity, and nothing else grows with their number', () => {
    const one = countsOf('1 dirty stripe of 64 GiB', 'recover');
    for (const stripes of [10, 100]) {
      const more = stripes - 1;
      expect(countsOf(`${stripes} dirty stripes of 64 GiB`, 'recover')).toEqual({
        ...one,
        reads: one.reads! + more * MEMBERS,
        readBytes: one.readBytes! + more * MEMBERS * CHUNK_BYTES,
        writes: one.writes! + more,
        writtenBytes: one.writtenBytes! + more * CHUNK_BYTES,
      });
    }
  });

  test('costs beside its stripes no more than superblocks and records', () => {
    const { readBytes, writtenBytes, fuaWrites } = countsOf('1 dirty stripe of 64 GiB', 'recover');
    expect(readBytes! - MEMBERS * CHUNK_BYTES).toBeLessThanOrEqual(MEMBERS * 64 * 1024);
    // Both copies of one record, and the superblocks of all members.
    expect(fuaWrites).toBe(2 + MEMBERS);
    expect(writtenBytes! - CHUNK_BYTES).toBeLessThanOrEqual((2 + MEMBERS) * 4096);
  });
});

test('the benches of the record are among those that are run', () => {
  const names = BENCHES.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['record', 'recovery']));
});
