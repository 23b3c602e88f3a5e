/**
 * A database on a filesystem on a file of a volume: SQLite on ext4, killed with kill -9 of the server amid transactions.
 * After recovery the filesystem is sound, the database passes its own check, and each transaction that was acknowledged
 * is there, whole.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ask, hasDatabase, IS_WHOLE, MOST_TRANSACTIONS, writeRows } from '../support/database.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { canMount, MountedDisk } from '../support/nbd/mounted-disk.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const isPossible = hasDatabase && canMount();

it.runIf(isPossible).each(['wal', 'delete'])(
  'a database (journal_mode %s) has each acknowledged transaction, whole, after the server was killed',
  { timeout: 180_000 },
  (journalMode) =>
    withSeed(async (random) => {
      const folder = await temporaryFolder();
      const volume = join(folder, 'v');
      const create = ['create', volume, '--format', 'extents', '--members', '3', '--size', '128MiB'];
      expect((await runHoldfast(create)).exitCode).toBe(0);
      expect((await runHoldfast(['file', 'create', volume, 'disk', '--size', '64MiB'])).exitCode).toBe(0);
      const served = await serve(folder, volume);
      const disk = await MountedDisk.mount(join(folder, 'before'), served.uri, { makes: true });
      let acknowledged = 0;
      try {
        const writing = writeRows(join(disk.place, 'db'), journalMode);
        const least = random.between(20, 60);
        await expect.poll(writing.acknowledged, { timeout: 60_000 }).toBeGreaterThan(least);
        expect((await served.stop('SIGKILL')).exitCode).toBe(128 + 9);
        acknowledged = writing.acknowledged();
        // It was amid its transactions, and the disk is gone.
        await writing.ended;
        acknowledged = Math.max(acknowledged, writing.acknowledged());
        expect(acknowledged).toBeLessThan(MOST_TRANSACTIONS);
      } finally {
        await disk.unmount();
      }
      expect((await runJson(['recover', volume])).json).toMatchObject({ exitCode: 0 });
      const again = await serve(folder, volume);
      const after = await MountedDisk.mount(join(folder, 'after'), again.uri, { makes: false });
      try {
        const database = join(after.place, 'db');
        expect(await ask(database, 'pragma integrity_check')).toBe('ok');
        expect(Number(await ask(database, 'select max(n) from t'))).toBeGreaterThanOrEqual(acknowledged);
        expect(await ask(database, IS_WHOLE)).toBe('1');
      } finally {
        await after.unmount();
      }
      expect((await again.stop()).exitCode).toBe(0);
      expect((await runJson(['fsck', volume, '-n'])).json).toMatchObject({
        exitCode: 0,
        result: { findings: [] },
      });
    }),
);
