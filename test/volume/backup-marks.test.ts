/** Marks of backups in sets: a backup is good whatever becomes of older marks. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { backupOptions } from '../../src/bench/backup-options.js';
import { createBackup } from '../../src/volume/backup/create.js';
import { openVolume, type Volume } from '../../src/volume/index.js';
import { ok } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const LIMIT = { timeout: 60_000 };
const MOST_MARKS = 16;

async function withImage(use: (volume: Volume, folder: string) => Promise<void>): Promise<void> {
  const folder = await temporaryFolder();
  await ok('create', join(folder, 'v'), '--members', '1', '--size', '1MiB');
  const volume = await openVolume([join(folder, 'v')], { access: 'write', warn: () => {} });
  try {
    await use(volume, folder);
  } finally {
    await volume.close();
  }
}

function inSet(folder: string, name: string, warn: (message: string) => void) {
  return backupOptions({
    ...{ name, to: join(folder, 'set'), isSet: true, warn },
    ...{ container: { kind: 'memory' }, onOverflow: 'drain' },
  });
}

it('a backup is good where older marks cannot be removed', LIMIT, async () => {
  await withImage(async (volume, folder) => {
    const warnings: string[] = [];
    const backUp = (name: string) =>
      createBackup(
        volume,
        inSet(folder, name, (text) => warnings.push(text)),
      );
    for (let n = 0; n < MOST_MARKS; n++) await backUp(`n${n}`);
    expect(warnings).toEqual([]);
    const { current } = volume.snapshots;
    Object.assign(current!, { delete: () => Promise.reject(new Error('the disk is gone')) });
    await backUp('last');
    expect(warnings).toEqual([expect.stringContaining('the disk is gone')]);
    const { state } = JSON.parse(await readFile(join(folder, 'set', 'last', 'backup.json'), 'utf8')) as {
      state: string;
    };
    expect(state).toBe('good');
    expect(current!.list().some(({ name }) => name === 'backup:last')).toBe(true);
  });
});
