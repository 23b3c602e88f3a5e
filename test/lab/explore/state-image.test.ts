/** A file that is one state after another: exactly that state, whatever was there before, and whoever has written to it. */
import fs from 'node:fs';
import { open, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { StateContent } from '../../../src/crash/state-content.js';
import { StateDevice } from '../../../src/crash/state-device.js';
import { StateImage } from '../../../src/lab/explore/state-image.js';
import { seeded } from '../../support/seed.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const PAGE = 4096;
const SIZE = 64 * PAGE + 512;
const { seed = 1 } = seeded();

function base(random: SeededRandom): Map<number, Uint8Array> {
  return new Map([0, 1, 7, 30, 63].map((page) => [page, random.bytes(PAGE)]));
}

/** Some pages, or parts, of them written or zeroed. */
function another(content: StateContent, random: SeededRandom): StateDevice {
  const fork = content.fork();
  for (let write = random.below(12); write > 0; write--) {
    const sector = random.below(SIZE / 512);
    const length = 512 * random.between(1, Math.min(20, SIZE / 512 - sector));
    if (random.chance(0.3)) fork.zero(sector * 512, length);
    else fork.write(sector * 512, random.bytes(length));
  }
  return new StateDevice(fork, { name: 'disk', size: SIZE });
}

async function expectHolds(path: string, device: StateDevice): Promise<void> {
  const wanted = new Uint8Array(SIZE);
  await device.read(0, wanted);
  expect(Buffer.compare(await readFile(path), wanted)).toBe(0);
}

it(`is each of many states, seed ${seed}`, async () => {
  const random = new SeededRandom(seed);
  const path = join(await temporaryFolder(), 'disk');
  const image = new StateImage(path);
  const content = StateContent.over(0, base(random));
  for (let round = 0; round < 60; round++) {
    const device = another(content, random);
    await image.show(device);
    await expectHolds(path, device);
    const spoils = random.below(6);
    if (spoils === 0) await writeFile(path, 'something else');
    if (spoils === 1) await rm(path);
    if (spoils === 2) {
      // One byte, in the same moment, of the same length.
      const file = await open(path, 'r+');
      await file.write(Uint8Array.of(1), 0, 1, random.below(SIZE));
      await file.close();
    }
    expect(await image.wasWritten(device)).toBe(spoils < 3);
  }
});

it('costs what differs: pages that states share are not written again', async () => {
  const random = new SeededRandom(1);
  const path = join(await temporaryFolder(), 'disk');
  const image = new StateImage(path);
  const content = StateContent.over(0, base(random));
  const first = new StateDevice(content.fork(), { name: 'disk', size: SIZE });
  await image.show(first);
  expect((await stat(path)).blocks * 512).toBeLessThanOrEqual(5 * PAGE);
  expect(await image.wasWritten(first)).toBe(false);
  const fork = content.fork();
  fork.write(30 * PAGE, random.bytes(512));
  const second = new StateDevice(fork, { name: 'disk', size: SIZE });
  expect(await writtenTo(path, () => image.show(second))).toEqual([[30 * PAGE, PAGE]]);
  await expectHolds(path, second);
});

/** Offsets and bytes, of what is written by calls of node:fs. */
async function writtenTo(path: string, body: () => Promise<void>): Promise<[number, number][]> {
  const real = { ...fs };
  const writes: [number, number][] = [];
  const files = new Set<number>();
  const watched = {
    openSync(...args: Parameters<typeof fs.openSync>) {
      const file = real.openSync(...args);
      if (args[0] === path) files.add(file);
      return file;
    },
    writeSync(file: number, bytes: Uint8Array, from: number, length: number, at: number) {
      if (files.has(file)) writes.push([at, length]);
      return real.writeSync(file, bytes, from, length, at);
    },
  };
  Object.assign(fs, watched);
  syncBuiltinESMExports();
  try {
    await body();
  } finally {
    Object.assign(fs, { openSync: real.openSync, writeSync: real.writeSync });
    syncBuiltinESMExports();
  }
  return writes;
}

it('is not spoilt by who outlives the command, and writes when it was looked at', async () => {
  const random = new SeededRandom(1);
  const path = join(await temporaryFolder(), 'disk');
  const image = new StateImage(path);
  const content = StateContent.over(0, base(random));
  const device = another(content, random);
  await image.show(device);
  const late = await open(path, 'r+');
  expect(await image.wasWritten(device)).toBe(false);
  await late.write(Uint8Array.of(1, 2, 3), 0, 3, 50 * PAGE);
  const next = new StateDevice(content.fork(), { name: 'disk', size: SIZE });
  await image.show(next);
  await late.write(Uint8Array.of(1, 2, 3), 0, 3, 51 * PAGE);
  await late.close();
  await expectHolds(path, next);
});

it('is seen to be written, though the times were put back', async () => {
  const random = new SeededRandom(1);
  const path = join(await temporaryFolder(), 'disk');
  const image = new StateImage(path);
  const device = another(StateContent.over(0, base(random)), random);
  await image.show(device);
  const { atime, mtime } = await stat(path);
  // A file's times are as fine as the kernel's clock ticks.
  await sleep(20);
  const file = await open(path, 'r+');
  await file.write(Uint8Array.of(1, 2, 3), 0, 3, 50 * PAGE);
  await file.close();
  await utimes(path, atime, mtime);
  expect(await image.wasWritten(device)).toBe(true);
});

it('says which file could not be written', async () => {
  const image = new StateImage('/dev/null/disk');
  const device = new StateDevice(StateContent.blank(0), { name: 'disk', size: SIZE });
  await expect(image.show(device)).rejects.toThrow('/dev/null/disk');
});
