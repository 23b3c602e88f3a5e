/** The bench of backups, small: what is kept of what is overwritten is exact. Its times are not looked at. */
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { backupOf } from '../../src/bench/backup.js';
import { MIB } from '../../src/bench/bench-array.js';
import type { ComparisonResult } from '../../src/bench/measure.js';
import { BENCHES } from '../../src/bench/registry.js';
import { comparisonOf, contenderOf, measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const REQUESTS = 400;
const SMALL = { volumeBytes: 12 * MIB, requests: REQUESTS, depth: 4 };
const SIZES = {
  volumeBytes: 16 * MIB,
  writes: SMALL,
  fleecing: SMALL,
  snapshots: { ...SMALL, requests: 40, flushEvery: [1, 8] },
};

let results: readonly ComparisonResult[] = [];
beforeAll(async () => {
  ({ results } = await measuredOnce(backupOf(SIZES), join(await temporaryFolder(), 'volumes')));
}, 120_000);

test('it is among the benches', () => {
  expect(BENCHES.map(({ name }) => name)).toContain('backup');
});

test('copies are compared with cp', () => {
  const { contenders, baseline } = comparisonOf(results, /half of it data/);
  expect(baseline).toBe('cp --sparse=always');
  expect(contenders.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['backup of one image', 'backup of RAID-5']),
  );
});

test('blocks that are not in use are neither read nor copied', () => {
  const comparison = comparisonOf(results, /half of it files/);
  const all = contenderOf(comparison, 'all blocks').counts;
  const used = contenderOf(comparison, 'blocks in use').counts;
  expect(all.taken).toBe(8 * MIB);
  expect(used.taken).toBeLessThan(6 * MIB);
  expect(used.taken).toBeGreaterThan(4 * MIB);
  expect(used.disk).toBeLessThan(all.disk!);
});

test.each(['one image', 'RAID-5'])(
  'a first write costs its block in the container, another nothing: %s',
  (what) => {
    for (const share of [0, 0.05, 0.5]) {
      const comparison = comparisonOf(
        results,
        `4 KiB at random, 4 in flight, ${share * 100}% first writes, ${what}`,
      );
      expect(contenderOf(comparison, 'backup').counts.keptBytes).toBe(REQUESTS * share * 4096);
    }
  },
);

test.each([0.05, 0.5])('over NBD too: %s first writes', (share) => {
  const comparison = comparisonOf(
    results,
    `4 KiB at random over NBD, 4 in flight, ${share * 100}% first writes`,
  );
  expect(contenderOf(comparison, 'holdfast, backup').counts.keptBytes).toBe(REQUESTS * share * 4096);
});

test.each([1, 16, 128])('an increment of %s changed blocks keeps these, and reads no others', (blocks) => {
  const comparison = comparisonOf(results, `an increment, ${blocks} of 1024 blocks changed`);
  expect(contenderOf(comparison, 'noted as changed').counts).toEqual({
    readBytes: blocks * 4096,
    keptBytes: blocks * 4096,
  });
  expect(contenderOf(comparison, 'compared').counts).toEqual({
    readBytes: 4 * MIB,
    keptBytes: blocks * 4096,
  });
});

test.each(['one image', 'RAID-5'])(
  'a write by itself after a snapshot costs its block and a sector: %s',
  (what) => {
    const alone = comparisonOf(results, `4 KiB at random, a flush after 1, ${what}`);
    expect(contenderOf(alone, 'snapshot').counts.keptBytes).toBe(40 * (4096 + 512));
    const gathered = comparisonOf(results, `4 KiB at random, a flush after 8, ${what}`);
    expect(contenderOf(gathered, 'snapshot').counts.keptBytes).toBeLessThanOrEqual(40 * 4096 + 40 * 512);
  },
);
