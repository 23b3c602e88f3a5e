import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { RawFiles } from '../../src/bench/raw-files.js';
import { inOrder, perform, scattered, totalBytes, type Workload } from '../../src/bench/workload.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const MIB = 1024 * 1024;

describe('offsets', () => {
  test('at random are different, aligned, within the end, out of order, and the same every time', () => {
    const offsets = scattered(200, 4096, 256 * 4096);
    expect(new Set(offsets).size).toBe(200);
    expect(offsets.every((offset) => offset % 4096 === 0 && offset >= 0 && offset < 256 * 4096)).toBe(true);
    expect(offsets).not.toEqual(offsets.toSorted((a, b) => a - b));
    expect(scattered(200, 4096, 256 * 4096)).toEqual(offsets);
  });

  test('can be all that there are, and not one more', () => {
    expect(scattered(8, 512, 4096).toSorted((a, b) => a - b)).toEqual(inOrder(8, 512));
    expect(() => scattered(9, 512, 4096)).toThrow('9 different requests');
  });
});

describe('perform', () => {
  const workload: Workload = {
    title: 'work',
    requestBytes: 10,
    offsets: inOrder(10, 10),
    depth: 4,
    flushEvery: 6,
  };

  test('makes every request once, so many at a time, and flushes when those before have ended', async () => {
    const diary: (number | string)[] = [];
    const lanes = new Set<number>();
    let inFlight = 0;
    let most = 0;
    await perform(
      workload,
      async (offset, lane) => {
        diary.push(offset);
        lanes.add(lane);
        most = Math.max(most, ++inFlight);
        await setImmediate();
        inFlight -= 1;
      },
      async () => {
        diary.push(`flush with ${inFlight}`);
      },
    );
    expect(diary).toEqual([0, 10, 20, 30, 40, 50, 'flush with 0', 60, 70, 80, 90, 'flush with 0']);
    expect(most).toBe(4);
    expect([...lanes].sort()).toEqual([0, 1, 2, 3]);
    expect(totalBytes(workload)).toBe(100);
  });

  test('goes on while so many flushes are under way, and waits for them all', async () => {
    const diary: (number | string)[] = [];
    const ends: (() => void)[] = [];
    const performed = perform(
      { ...workload, depth: 1, flushEvery: 2, flushesUnderWay: 2 },
      async (offset) => void diary.push(offset),
      () => {
        diary.push('flush');
        return new Promise((resolve) => ends.push(resolve));
      },
    );
    await setImmediate();
    const ahead = [0, 10, 'flush', 20, 30, 'flush', 40, 50, 'flush'];
    expect(diary).toEqual(ahead);
    ends[0]!();
    await setImmediate();
    expect(diary).toEqual([...ahead, 60, 70, 'flush']);
    ends[1]!();
    await setImmediate();
    expect(diary).toEqual([...ahead, 60, 70, 'flush', 80, 90, 'flush']);
    let hasEnded = false;
    const ended = performed.then(() => {
      hasEnded = true;
    });
    for (const end of ends.slice(2, 4)) end();
    await setImmediate();
    expect(hasEnded).toBe(false);
    ends[4]!();
    await ended;
  });

  test('passes on what a request throws', async () => {
    await expect(perform(workload, () => Promise.reject(new Error('no disk')))).rejects.toThrow('no disk');
  });
});

test('raw files hold the bytes in pieces of 1 MiB, one file after the other, and count what is asked', async () => {
  const raw = await RawFiles.make(folder, 2, 2 * MIB);
  try {
    expect(raw.tally.take()).toMatchObject({ writes: 4, writtenBytes: 4 * MIB, flushes: 2 });
    await raw.write(3 * MIB + 4096, new Uint8Array(512).fill(7));
    await raw.flush();
    const into = new Uint8Array(1024);
    await raw.read(3 * MIB + 4096, into);
    expect([into[0], into[511], into[512]]).toEqual([7, 7, 0xa5]);
    expect((await readFile(join(folder, 'raw-1')))[MIB + 4096]).toBe(7);
    await expect(raw.read(4 * MIB, into)).rejects.toThrow('only 0 of 1024 bytes');
    const counts = {
      reads: 2,
      readBytes: 2048,
      writes: 1,
      writtenBytes: 512,
      flushes: 2,
      fuaWrites: 0,
      fileSyncs: 2,
    };
    expect(raw.tally.take()).toEqual(counts);
  } finally {
    await raw.close();
  }
});
