/** What is asked of a snapshot, and cannot be had, is refused: it is not made as something else. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { backupOptions } from '../../src/bench/backup-options.js';
import { createBackup } from '../../src/volume/backup/create.js';
import { openVolume, type Volume } from '../../src/volume/index.js';
import { type OperationArguments, runOperation } from '../../src/volume/operations.js';
import { cacheOf } from '../../src/volume/stack.js';
import { ok, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const LIMIT = { timeout: 60_000 };

async function oneImage(): Promise<string> {
  const path = join(await temporaryFolder(), 'v');
  await ok('create', path, '--members', '1', '--size', '1MiB');
  return path;
}

it('a size with a container that grows is refused, and nothing is made', LIMIT, async () => {
  const volume = await oneImage();
  const create = ['snapshot', 'create', volume, '--name', 'one', '--container-size', '64KiB'];
  for (const flags of [[], ['--on-overflow', 'grow']]) {
    const { exitCode, json } = await runJson([...create, ...flags]);
    expect(exitCode).toBe(2);
    expect(json.error).toMatchObject({ code: 'USAGE', hint: expect.stringContaining('--on-overflow drop') });
  }
  expect((await ok('snapshot', 'list', volume)).snapshots).toEqual([]);
  await ok(...create, '--on-overflow', 'drop');
});

describe('while writes are to fail where the container of a snapshot is full', () => {
  const reporting = {
    signal: new AbortController().signal,
    onProgress: () => {},
    warn: () => {},
    isServed: true,
  };
  const make = (volume: Volume, asked: Partial<OperationArguments<'snapshot create'>>) =>
    runOperation(
      volume,
      'snapshot create',
      { name: 'one', container: { kind: 'beside' }, containerBytes: null, onOverflow: 'grow', ...asked },
      reporting,
    );

  it.each(['beside', 'memory'] as const)('no cache answers them first (%s)', LIMIT, async (kind) => {
    const path = await oneImage();
    const volume = await openVolume([path], { access: 'write', warn: () => {} });
    try {
      await make(volume, { container: { kind }, onOverflow: 'fail' });
      await make(volume, { name: 'two' });
      expect(cacheOf(volume.device)).toBe(null);
      await createBackup(
        volume,
        backupOptions({
          ...{ name: 'b', to: join(path, '..', 'set'), isSet: true },
          ...{ container: { kind: 'memory' }, onOverflow: 'drain' },
        }),
      );
      expect(cacheOf(volume.device)).toBe(null);
      await volume.snapshots.current!.delete('one');
      await make(volume, { name: 'three' });
      expect(cacheOf(volume.device)).not.toBe(null);
    } finally {
      await volume.close();
    }
  });
});
