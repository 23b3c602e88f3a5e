/**
 * Snapshots under real load: SQLite on ext4 on a served volume, amid transactions, while snapshots come and go. Each, read out, is a
 * filesystem that is sound when its journal has been replayed, with a database that passes its own check, each transaction whole,
 * none missing that was acknowledged before the snapshot was asked for, and none that came after it was made. So it is after the
 * server was killed with -9 amid all that, too.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { hasDatabase, MOST_TRANSACTIONS, writeRows } from '../support/database.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { type DatabaseBounds, expectSoundDatabase } from '../support/filesystems/sound-database.js';
import { canMount, MountedDisk } from '../support/nbd/mounted-disk.js';
import { ok, okQuietly } from '../support/run-holdfast.js';
import { type Served, serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const isPossible = hasDatabase && canMount();

interface Load {
  readonly folder: string;
  readonly volume: string;
  readonly writing: ReturnType<typeof writeRows>;
  /** Of the file beside the database. */
  readonly content: Uint8Array;
  /** What is known of each snapshot. */
  readonly bounds: Map<string, DatabaseBounds>;
  readonly random: SeededRandom;
}

/** So many transactions later. */
async function goOn({ writing, random }: Load): Promise<void> {
  const least = writing.acknowledged() + random.between(5, 20);
  await expect.poll(writing.acknowledged, { timeout: 60_000 }).toBeGreaterThan(least);
}

async function create(load: Load, name: string): Promise<void> {
  const { volume, writing, bounds, content } = load;
  await goOn(load);
  const least = writing.acknowledged();
  await ok('snapshot', 'create', volume, '--name', name);
  // One is under way, and one may be done that nobody has heard of yet.
  bounds.set(name, { least, most: writing.acknowledged() + 2, content });
}

async function expectSound({ folder, volume, bounds }: Load, name: string, when: string): Promise<void> {
  const image = join(folder, `${name}-${when}.img`);
  await ok('read', volume, '--snapshot', name, '--output', image);
  await expectSoundDatabase(image, bounds.get(name)!);
}

/** Snapshots come and go, and the server is killed amid it. */
async function untilKilled(load: Load, served: Served): Promise<void> {
  const { volume, writing, bounds, random } = load;
  for (const name of ['first', 'second', 'third']) await create(load, name);
  await goOn(load);
  await expectSound(load, 'second', 'served');
  const deleted = random.pick(['first', 'second', 'third']);
  await ok('snapshot', 'delete', volume, '--name', deleted);
  bounds.delete(deleted);
  await create(load, 'fourth');
  await goOn(load);
  expect((await served.stop('SIGKILL')).exitCode).toBe(128 + 9);
  await writing.ended;
  expect(writing.acknowledged()).toBeLessThan(MOST_TRANSACTIONS);
}

it.runIf(isPossible).each([
  ['wal', ['--members', '3']],
  ['delete', ['--members', '1']],
] as const)(
  'snapshots amid transactions (journal_mode %s) are sound, also after the server was killed',
  { timeout: 240_000 },
  (journalMode, shape) =>
    withSeed(async (random) => {
      const folder = await temporaryFolder();
      const volume = join(folder, 'v');
      await ok('create', volume, ...shape, '--size', '96MiB');
      const served = await serve(folder, volume);
      const disk = await MountedDisk.mount(join(folder, 'mounted'), served.uri, { makes: true });
      const content = randomBytes(3_000_000);
      let load: Load;
      try {
        await writeFile(join(disk.place, 'static'), content, { flush: true });
        const writing = writeRows(join(disk.place, 'db'), journalMode);
        load = { folder, volume, writing, content, bounds: new Map(), random };
        await untilKilled(load, served);
      } finally {
        await disk.unmount();
      }
      await okQuietly('recover', volume);
      const { snapshots } = await ok('snapshot', 'list', volume);
      expect(snapshots).toMatchObject([...load.bounds.keys()].map((name) => ({ name, state: 'good' })));
      for (const name of load.bounds.keys()) await expectSound(load, name, 'recovered');
      const image = join(folder, 'live.img');
      await ok('read', volume, '--output', image);
      await expectSoundDatabase(image, { least: load.writing.acknowledged(), content });
    }),
);
