/** Cutting the power of a piece of work on real image files: when it goes, what it leaves, and what it does not touch. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type CutReport, type Injected, type InjectOptions, injectPowerCut } from '../../src/crash/inject.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { ImageFile } from '../../src/device/image-file.js';
import { openImage } from '../../src/device/open-image.js';
import { errorOf, readAt } from '../conformance/block-device.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const SECTOR = 512;
const SECTORS = 16;
const folder = await temporaryFolder();
let made = 0;

/** Image files that hold 9 in every byte. */
async function makeImages(count: number): Promise<string[]> {
  const paths = Array.from({ length: count }, () => join(folder, `image-${made++}`));
  for (const path of paths) await writeFile(path, Buffer.alloc(SECTORS * SECTOR, 9));
  return paths;
}

async function openBoth(paths: readonly string[]): Promise<BlockDevice[]> {
  const images: BlockDevice[] = [];
  for (const path of paths) images.push(await openImage(path, { readOnly: false }));
  return images;
}

const sector = (tag: number, sectors = 1): Uint8Array => new Uint8Array(sectors * SECTOR).fill(tag);

async function tags(path: string, count = 4): Promise<number[]> {
  const bytes = await readFile(path);
  return Array.from({ length: count }, (_, i) => bytes[i * SECTOR]!);
}

const DEFAULTS = { seed: 1, profile: 'sector-512' } as const;

function inject<T>(work: () => Promise<T>, options: Partial<InjectOptions>): Promise<Injected<T>> {
  return injectPowerCut(work, { ...DEFAULTS, point: { at: 'random' }, ...options });
}

function reportOf(injected: Injected<unknown>): CutReport {
  if (injected.outcome !== 'cut') throw new Error('the power was not cut');
  return injected.report;
}

/** Two images: each sector is flushed or not, and every kind of call is there once. */
async function work(paths: readonly string[]): Promise<string> {
  const [a, b] = await openBoth(paths);
  await a!.write(0, sector(1));
  await b!.writeZeroes(0, SECTOR);
  await a!.flush();
  await a!.write(SECTOR, sector(2));
  await b!.trim(0, SECTOR);
  await b!.write(SECTOR, sector(3), { fua: true });
  await b!.flush();
  await Promise.all([a!.close(), b!.close()]);
  return 'done';
}

describe('at a write', () => {
  it('that is the nth over all images, zeroes and trims counted', async () => {
    const wanted = [
      ['9,9', '9,9'],
      ['9,9', '9,9'],
      // Nothing but the first write was flushed.
      ['1,9', '9,9'],
      ['1,9', '9,9'],
      ['1,9', '9,9'],
    ];
    for (const [index, [onA, onB]] of wanted.entries()) {
      const number = index + 1;
      const paths = await makeImages(2);
      const report = await noneKept(paths, { at: 'write', number });
      expect([report.writes, report.flushes], `write ${number}`).toEqual([number, number > 2 ? 1 : 0]);
      expect(String(await tags(paths[0]!, 2)), `write ${number}`).toBe(onA);
      expect(String(await tags(paths[1]!, 2)), `write ${number}`).toBe(onB);
    }
  });

  /** With the first seed by which nothing volatile survives. */
  async function noneKept(paths: readonly string[], point: InjectOptions['point']): Promise<CutReport> {
    for (let seed = 1; seed < 100; seed++) {
      const fresh = await makeImages(2);
      const { kind } = reportOf(await inject(() => work(fresh), { point, seed }));
      if (kind === 'none') return reportOf(await inject(() => work(paths), { point, seed }));
    }
    throw new Error('no seed of a hundred loses all');
  }

  it('may leave that write itself, in whole or in part, and nothing that comes behind it', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const [path] = await makeImages(1);
      const twoWrites = async (): Promise<void> => {
        const image = await openImage(path!, { readOnly: false });
        await image.write(0, sector(1, 2));
        await image.write(2 * SECTOR, sector(2, 2), { fua: true });
      };
      const point = { at: 'write', number: 1 } as const;
      const report = reportOf(await inject(twoWrites, { point, seed }));
      expect(report).toMatchObject({ cutAtEvent: 1, volatileWrites: 1, images: [{ image: path }] });
      seen.add(String(await tags(path!)));
    }
    expect([...seen].sort()).toEqual(['1,1,9,9', '1,9,9,9', '9,1,9,9', '9,9,9,9']);
  });
});

describe('at a flush', () => {
  it('has it submitted and not completed: what it covers is volatile still', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const paths = await makeImages(2);
      const point = { at: 'flush', number: 1 } as const;
      const report = reportOf(await inject(() => work(paths), { point, seed }));
      expect(report).toMatchObject({ writes: 2, flushes: 1, volatileWrites: 2 });
      seen.add(`${(await tags(paths[0]!))[0]} ${(await tags(paths[1]!))[0]}`);
    }
    expect([...seen].sort()).toEqual(['1 0', '1 9', '9 0', '9 9']);
  });

  it('that completed leaves what it covers', async () => {
    for (let seed = 0; seed < 10; seed++) {
      const paths = await makeImages(2);
      const point = { at: 'flush', number: 2 } as const;
      const report = reportOf(await inject(() => work(paths), { point, seed }));
      expect(report.images.map(({ volatileWrites }) => volatileWrites)).toEqual([1, 2]);
      expect((await tags(paths[0]!))[0]).toBe(1);
      expect((await tags(paths[1]!))[1]).toBe(3);
    }
  });
});

describe('at an event by seed', () => {
  it('comes at any event of the work, and takes the images back to it', async () => {
    const events = new Set<number>();
    for (let seed = 0; seed < 120; seed++) {
      const paths = await makeImages(2);
      const { cutAtEvent } = reportOf(await inject(() => work(paths), { seed }));
      events.add(cutAtEvent);
      const [a, b] = [await tags(paths[0]!), await tags(paths[1]!)];
      const where = `cut after event ${cutAtEvent}`;
      if (cutAtEvent < 7) expect(a[1], where).toBe(9);
      if (cutAtEvent >= 6) expect(a[0], where).toBe(1);
      if (cutAtEvent < 11) expect(b[1], where).toBe(9);
      if (cutAtEvent >= 12) expect(b[1], where).toBe(3);
    }
    expect([...events].sort((x, y) => x - y)).toEqual(Array.from({ length: 14 }, (_, i) => i + 1));
  });

  it('is the same for the same seed, byte for byte', async () => {
    for (let seed = 0; seed < 10; seed++) {
      const runs = [];
      for (let run = 0; run < 2; run++) {
        const paths = await makeImages(2);
        const options = { seed, profile: 'garbage-torn' } as const;
        const { images, ...report } = reportOf(await inject(() => work(paths), options));
        runs.push({ report, content: await Promise.all(paths.map((path) => readFile(path, 'hex'))) });
      }
      expect(runs[1]).toEqual(runs[0]);
    }
  });

  it('over the limit of memory comes among the events so far, and the work goes no further', async () => {
    const [path] = await makeImages(1);
    let written = 0;
    const endless = async (): Promise<void> => {
      const image = await openImage(path!, { readOnly: false });
      for (;;) {
        await image.write(0, sector(1));
        written += 1;
      }
    };
    const report = reportOf(await inject(endless, { limitBytes: 16 * 1024 }));
    expect(written).toBeLessThan(40);
    expect(report.cutAtEvent).toBeLessThanOrEqual(2 * written + 1);
  });
});

describe('without a cut', () => {
  it('the work has ended as it would have, and what it asked for is told', async () => {
    const paths = await makeImages(2);
    const ended = await inject(() => work(paths), { point: { at: 'write', number: 6 } });
    expect(ended).toEqual({ outcome: 'ended', value: 'done', writes: 5, flushes: 2, overLimit: false });
    expect([await tags(paths[0]!, 2), await tags(paths[1]!, 2)]).toEqual([
      [1, 2],
      [0, 3],
    ]);
    const idle = await inject(async () => 'idle', {});
    expect(idle).toMatchObject({ outcome: 'ended', value: 'idle', writes: 0 });
  });

  it('over the limit of memory it runs to its end, and that is told', async () => {
    const paths = await makeImages(2);
    const options = { point: { at: 'flush', number: 2 }, limitBytes: 1024 } as const;
    const ended = await inject(() => work(paths), options);
    expect(ended).toMatchObject({ outcome: 'ended', value: 'done', writes: 5, flushes: 2, overLimit: true });
    expect(await tags(paths[0]!, 2)).toEqual([1, 2]);
  });

  it('what the work throws is thrown, and the images are closed', async () => {
    const [path] = await makeImages(1);
    const failing = async (): Promise<void> => {
      const image = await openImage(path!, { readOnly: false });
      await image.write(0, sector(1));
      throw new Error('no good');
    };
    await expect(inject(failing, {})).rejects.toThrow('no good');
    await (await ImageFile.open(path!, { readOnly: false })).close();
    expect((await tags(path!))[0]).toBe(1);
  });
});

describe('the images', () => {
  it('stay locked when the work closes them, until the cut has been written', async () => {
    const [path] = await makeImages(1);
    const report = await inject(async () => {
      const image = await openImage(path!, { readOnly: false });
      await image.write(0, sector(1));
      await image.close();
      expect((await errorOf(ImageFile.open(path!, { readOnly: false }))).code).toBe('IN_USE');
    }, {});
    expect(report.outcome).toBe('cut');
    await (await ImageFile.open(path!, { readOnly: false })).close();
  });

  it('can be opened again by the work itself, and are the same devices of the trace', async () => {
    const [path] = await makeImages(1);
    const reopening = async (): Promise<void> => {
      const first = await openImage(path!, { readOnly: false });
      await first.write(0, sector(1));
      await first.close();
      const second = await openImage(path!, { readOnly: false });
      await second.flush();
      await second.close();
      const looking = await openImage(path!, { readOnly: true });
      expect((await readAt(looking, 0, SECTOR))[0]).toBe(1);
      await looking.close();
      const beside = await openImage(path!, { readOnly: true, lock: false });
      await beside.close();
      const third = await openImage(path!, { readOnly: false });
      await third.write(SECTOR, sector(2), { fua: true });
    };
    for (let seed = 0; seed < 20; seed++) {
      await writeFile(path!, Buffer.alloc(SECTORS * SECTOR, 9));
      const point = { at: 'write', number: 2 } as const;
      const report = reportOf(await inject(reopening, { point, seed }));
      expect(report.images).toHaveLength(1);
      expect(report.volatileWrites).toBe(1);
      expect((await tags(path!))[0]).toBe(1);
    }
  });

  it('are reached though the work closed them and left a reader', async () => {
    const [path] = await makeImages(1);
    await inject(async () => {
      const image = await openImage(path!, { readOnly: false });
      await image.write(0, sector(1));
      await image.close();
      await openImage(path!, { readOnly: true });
    }, {});
    expect([1, 9]).toContain((await tags(path!))[0]);
    await (await ImageFile.open(path!, { readOnly: false })).close();
  });

  it('that the work made stay, at their full size', async () => {
    const path = join(folder, 'made-by-the-work');
    const making = async (): Promise<void> => {
      const image = await openImage(path, { readOnly: false, create: { size: 1024 * 1024 } });
      await image.write(0, sector(1));
    };
    reportOf(await inject(making, { point: { at: 'write', number: 1 } }));
    expect((await stat(path)).size).toBe(1024 * 1024);
  });

  it('are recorded no more afterwards', async () => {
    const [path] = await makeImages(1);
    await inject(async () => 'idle', {});
    const image = await openImage(path!, { readOnly: false });
    expect(image).toBeInstanceOf(ImageFile);
    await image.close();
  });
});
