/**
 * The benches of volumes, small: what they count is exact, and what they do to arrays is right. Their speeds are
 * not looked at.
 */
import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Bench } from '../../src/bench/bench.js';
import { DATA_OFFSET_BYTES, MIB, openBenchArray, varied } from '../../src/bench/bench-array.js';
import { runDd } from '../../src/bench/dd.js';
import { degradedReadsOf } from '../../src/bench/degraded-reads.js';
import type { ComparisonResult } from '../../src/bench/measure.js';
import { rebuildOf } from '../../src/bench/rebuild.js';
import { scrubOf } from '../../src/bench/scrub.js';
import { writesOf } from '../../src/bench/writes.js';
import { contenderOf, measuredOnce } from '../support/measured-once.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const MEMBER_BYTES = 4 * MIB;

let directory: string;
let runs = 0;

beforeEach(async () => {
  directory = join(folder, String(runs++));
  await mkdir(directory);
});

const PATH = process.env.PATH;

afterEach(() => {
  process.env.PATH = PATH;
});

function imagesOf(name: string): string[] {
  return [0, 1, 2, 3].map((slot) => join(directory, name, `member-${slot}.img`));
}

async function run(bench: Bench, before?: () => Promise<void>): Promise<readonly ComparisonResult[]> {
  const { results } = await measuredOnce(bench, directory, before);
  return results;
}

const countsOf = (result: ComparisonResult, name: string) => contenderOf(result, name).counts;

async function overwrite(path: string, position: number, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'r+');
  await handle.write(bytes, 0, bytes.length, position);
  await handle.close();
}

async function mismatches(name: string): Promise<number> {
  const opened = await openBenchArray(imagesOf(name), { readOnly: true });
  const { mismatchCount } = await opened.array.scrub({ repair: false });
  await opened.close();
  return mismatchCount;
}

describe('writes', () => {
  const sizes = {
    memberBytes: MEMBER_BYTES,
    sequentialRequests: 12,
    randomRequests: 64,
    flushedRequests: 64,
  };

  test('count what a user write costs, with the same flushes for all, and leave parity right', async () => {
    const results = await run(writesOf(sizes));
    const [sequential, random, flushed] = results;
    for (const [result, requests, bytes] of [
      [sequential, 12, MIB],
      [random, 64, 4096],
      [flushed, 64, 4096],
    ] as const)
      expect(countsOf(result!, 'files')).toMatchObject({
        reads: 0,
        writes: requests,
        writtenBytes: requests * bytes,
      });
    for (const { contenders } of results)
      for (const { counts } of contenders)
        expect([counts.flushes, counts.fuaWrites]).toEqual([contenders[0]!.counts.flushes, 0]);
    expect(countsOf(flushed!, 'files').flushes).toBe(8);
    // 12 MiB are 64 whole stripes: through the cache they are written whole, without a read.
    expect(countsOf(sequential!, 'volume')).toMatchObject({ readBytes: 0, writtenBytes: 16 * MIB });
    expect(countsOf(random!, 'array')).toMatchObject({ readBytes: 128 * 4096, writtenBytes: 128 * 4096 });
    expect(await mismatches('volume')).toBe(0);
    expect(await mismatches('array')).toBe(0);
  });
});

describe('degraded reads', () => {
  test('count what a user read costs with a member and without', async () => {
    const results = await run(
      degradedReadsOf({ memberBytes: MEMBER_BYTES, sequentialRequests: 12, randomRequests: 256 }),
    );
    expect(results.map(({ baseline }) => baseline)).toEqual(['files', 'whole', 'files', 'whole']);
    const random = results[2]!;
    for (const name of ['files', 'whole'])
      expect(countsOf(random, name)).toMatchObject({ reads: 256, readBytes: 256 * 4096, writes: 0 });
    // Each one that hits the missing member is made of three reads.
    const { reads, readBytes } = countsOf(random, 'degraded');
    expect(reads).toBeGreaterThan(256);
    expect(reads! % 2).toBe(0);
    expect(readBytes).toBe(reads! * 4096);
    expect(countsOf(results[0]!, 'whole').readBytes).toBe(12 * MIB);
  });

  test('are of the bytes that the array was filled with', async () => {
    await run(
      degradedReadsOf({ memberBytes: MEMBER_BYTES, sequentialRequests: 1, randomRequests: 1 }),
      async () => {
        const { array, close } = await openBenchArray(imagesOf('array').slice(1), { readOnly: true });
        const bytes = new Uint8Array(MIB);
        await array.read(2 * MIB, bytes);
        await close();
        expect(Buffer.compare(bytes, varied(MIB))).toBe(0);
      },
    );
  });
});

describe('rebuild', () => {
  test('makes the member what it was, from the others alone, as dd moves it', async () => {
    const target = () => imagesOf('array')[1]!;
    let original = Buffer.alloc(0);
    const [result] = await run(rebuildOf(MEMBER_BYTES), async () => {
      original = await readFile(target());
      await overwrite(target(), DATA_OFFSET_BYTES, new Uint8Array(MEMBER_BYTES));
    });
    const rebuilt = await readFile(target());
    expect(rebuilt.subarray(DATA_OFFSET_BYTES).equals(original.subarray(DATA_OFFSET_BYTES))).toBe(true);
    expect(result!.baseline).toBe('dd');
    expect(countsOf(result!, 'dd')).toMatchObject({
      readBytes: 3 * MEMBER_BYTES,
      writtenBytes: MEMBER_BYTES,
    });
    expect(countsOf(result!, 'rebuild').readBytes).toBe(3 * MEMBER_BYTES);
    expect(countsOf(result!, 'rebuild').fuaWrites).toBeGreaterThan(0);
    const copied = await readFile(join(directory, 'dd-target'));
    const source = await readFile(imagesOf('array')[0]!);
    expect(copied.subarray(DATA_OFFSET_BYTES).equals(source.subarray(DATA_OFFSET_BYTES))).toBe(true);
  });
});

describe('scrub', () => {
  test('reads every byte of every member once, as dd does', async () => {
    const [result] = await run(scrubOf(MEMBER_BYTES));
    for (const name of ['dd', 'scrub'])
      expect(countsOf(result!, name)).toMatchObject({ readBytes: 4 * MEMBER_BYTES, writes: 0 });
  });

  test('is an error where the array is wrong', async () => {
    const spoil = () =>
      overwrite(imagesOf('array')[2]!, DATA_OFFSET_BYTES + 5000, new Uint8Array([1, 2, 3, 4]));
    await expect(run(scrubOf(MEMBER_BYTES), spoil)).rejects.toThrow('8 sectors');
  });
});

describe('dd', () => {
  test('is left out, and the notes say so, where there is none', async () => {
    process.env.PATH = directory;
    for (const bench of [scrubOf(MEMBER_BYTES), rebuildOf(MEMBER_BYTES)]) {
      directory = join(folder, String(runs++));
      await mkdir(directory);
      const prepared = await bench.prepare({ directory, roundSeconds: 0.001 });
      try {
        expect(prepared.notes[0]).toContain('dd cannot be run');
        const [comparison] = [...(prepared.comparisons() as Iterable<{ baseline: string | null }>)];
        expect(comparison).toMatchObject({ baseline: null, contenders: [{ name: expect.any(String) }] });
      } finally {
        await prepared.close();
      }
    }
  });

  test('that moves less than it was told to is an error', async () => {
    const short = join(directory, 'short');
    await overwrite(await touched(short), 0, new Uint8Array(3 * MIB));
    await expect(runDd([{ from: short, bytes: 4 * MIB }])).rejects.toThrow('did not move');
  });
});

async function touched(path: string): Promise<string> {
  await (await open(path, 'w')).close();
  return path;
}
