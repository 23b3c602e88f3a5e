/**
 * Backups under real load: SQLite on ext4 on a served volume, amid transactions. Each backup, restored, is a filesystem that is
 * sound when its journal has been replayed, with a database that passes its own check, each transaction whole, and none missing
 * that was acknowledged before the backup was asked for.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { hasDatabase, writeRows } from '../support/database.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { expectSoundDatabase } from '../support/filesystems/sound-database.js';
import { canMount, MountedDisk } from '../support/nbd/mounted-disk.js';
import { ok } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const isPossible = hasDatabase && canMount();

it.runIf(isPossible).each([
  ['wal', ['--members', '3'], []],
  ['delete', ['--members', '1'], ['--container', 'memory', '--container-size', '64KiB']],
] as const)(
  'backups amid transactions (journal_mode %s) are sound',
  { timeout: 240_000 },
  (journalMode, shape, flags) =>
    withSeed(async (random) => {
      const folder = await temporaryFolder();
      const volume = join(folder, 'v');
      await ok('create', volume, ...shape, '--size', '96MiB');
      const served = await serve(folder, volume);
      const disk = await MountedDisk.mount(join(folder, 'mounted'), served.uri, { makes: true });
      const images: { image: string; least: number }[] = [];
      const content = randomBytes(3_000_000);
      try {
        await writeFile(join(disk.place, 'static'), content, { flush: true });
        const writing = writeRows(join(disk.place, 'db'), journalMode);
        for (let round = 0; round < 2; round++) {
          const least = writing.acknowledged() + random.between(10, 40);
          await expect.poll(writing.acknowledged, { timeout: 60_000 }).toBeGreaterThan(least);
          const image = join(folder, `copy-${round}.img`);
          const before = writing.acknowledged();
          await ok('backup', 'create', volume, '--output', image, ...flags);
          images.push({ image, least: before });
        }
        writing.child.kill();
        await writing.ended;
      } finally {
        await disk.unmount();
      }
      expect((await served.stop()).exitCode).toBe(0);
      for (const { image, least } of images) await expectSoundDatabase(image, { least, content });
    }),
);
