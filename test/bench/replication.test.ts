/**
 * The bench of replication, small: what a resync copies and what the log costs, exactly as the design says. Its times are not
 * looked at.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Counts } from '../../src/bench/bench.js';
import { MEMBERS, MIB } from '../../src/bench/bench-array.js';
import type { ComparisonResult } from '../../src/bench/measure.js';
import { BENCHES } from '../../src/bench/registry.js';
import { replicationOf } from '../../src/bench/replication.js';
import { mapFileBytes } from '../../src/replication/map/page.js';
import { comparisonOf, contenderOf, measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const BLOCK_BYTES = 4096;
const VOLUMES = new Map([
  ['64 MiB', 64 * MIB],
  ['1 TiB', MIB * MIB],
]);
const DIRTY_BLOCKS = 20;

const SIZES = {
  writes: {
    volumeBytes: (MEMBERS - 1) * MIB,
    inMemory: false,
    writers: new Map([[2, 32]]),
    durable: new Map([[2, 8]]),
    flushed: 4,
    manyWriters: 2,
  },
  log: {
    volumeBytes: 4 * MIB,
    writers: new Map([
      [1, 32],
      [8, 64],
      [64, 256],
    ]),
  },
  resync: {
    volumeBytes: 64 * MIB,
    scattered: [10, 100],
    inOrder: 64,
    volumes: VOLUMES,
    dirtyBlocks: DIRTY_BLOCKS,
    command: false,
  },
};

let results: readonly ComparisonResult[] = [];

beforeAll(async () => {
  ({ results } = await measuredOnce(replicationOf(SIZES), join(folder, 'volumes')));
}, 240_000);

const found = (title: RegExp) => comparisonOf(results, title);

function countsOf(title: RegExp, contender: string): Counts {
  return contenderOf(found(title), contender).countsPerOperation;
}

describe('after an outage', () => {
  test.each([
    [/^10 writes/, 16],
    [/^100 writes/, 16],
    [/^64 writes .* in order/, 1],
  ])('%s: what differs is read and copied once, and regions would be more', (title, most) => {
    const { copied, read, beside, regions, all } = countsOf(title, 'resync');
    expect([copied, read]).toEqual([1, 1]);
    expect(beside).toBeGreaterThan(1);
    expect(regions).toBeLessThanOrEqual(most);
    expect(regions).toBeGreaterThan(most / 2);
    expect(all).toBe((64 * MIB) / (found(title).roundBytes ?? 1));
  });

  test.each([...VOLUMES.keys()])('a volume of %s has its dirty blocks copied, and nothing else', (label) => {
    const title = new RegExp(`^${DIRTY_BLOCKS} dirty blocks of ${label}`);
    const bytes = DIRTY_BLOCKS * BLOCK_BYTES;
    expect(countsOf(title, 'resume to in sync')).toMatchObject({
      copiedBytes: bytes,
      primaryReadBytes: bytes,
    });
    expect(countsOf(title, 'opening').copiedBytes).toBe(0);
  });
});

test.each([...VOLUMES])(
  'a map of %s is under 0.01% of it, and next to nothing where it is clean',
  (label, size) => {
    const { lengthOfFile, onDiskWhenClean } = countsOf(
      new RegExp(`^all blocks of ${label} dirty`),
      'map file',
    );
    expect(lengthOfFile! * size).toBeCloseTo(mapFileBytes(size / BLOCK_BYTES), 3);
    expect(onDiskWhenClean! * size).toBeLessThanOrEqual(64 * 1024);
    expect((SIZES.resync.volumes.get('1 TiB')! * 0.0001) / mapFileBytes(MIB * 256)).toBeGreaterThan(2);
  },
);

describe('the log', () => {
  const title = (writers: number) => new RegExp(`^4 KiB at random, ${writers} writers?$`);

  test('has a write for each write of an only writer, and few for those of many', () => {
    expect(countsOf(title(1), 'below the cache')).toMatchObject({
      logWrites: 1,
      logBarriers: 1,
      mapWrites: 0,
    });
    expect(countsOf(title(8), 'below the cache').logWrites).toBeLessThanOrEqual(1 / 2);
    expect(countsOf(title(64), 'below the cache').logWrites).toBeLessThanOrEqual(1 / 8);
  });

  test('has one for all that the cache has gathered', () => {
    expect(countsOf(title(64), 'volume').logWrites).toBeLessThanOrEqual(2 / 256);
  });

  test('costs one barrier beside that of a flush', () => {
    const { logBarriers, imageBarriers } = countsOf(title(1), 'volume, a flush each');
    expect(logBarriers).toBe(1);
    expect(imageBarriers).toBeGreaterThanOrEqual(1);
    expect(imageBarriers).toBeLessThan(1.1);
  });
});

test('writes are measured with the secondary away, beside the volume, and synchronous', () => {
  const names = (title: RegExp) => found(title).contenders.map(({ name }) => name);
  expect(names(/^4 KiB at random, 2 in flight$/)).toEqual(['untracked', 'away', 'async, same disk']);
  expect(names(/^4 KiB, each durable/)).toContain('sync, same disk');
  expect(BENCHES.map(({ name }) => name)).toContain('replication');
});
