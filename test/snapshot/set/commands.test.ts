/** `backup list`, `backup verify` and `backup restore`, as users and scripts meet them. */
import { randomBytes } from 'node:crypto';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { SetWriter } from '../../../src/snapshot/set/index.js';
import { compileFailingCalls } from '../../support/failing-calls.js';
import { ok, runHoldfast, runJson } from '../../support/run-holdfast.js';
import { serve } from '../../support/served.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { contentOf, makeVolume, notTested, readAll } from '../../support/volumes.js';
import { makeBackup } from './sets.js';

const folder = await temporaryFolder();
const failing = compileFailingCalls(folder);
const set = join(folder, 'set');
const MIB = 1024 ** 2;
const sizeBytes = 8 * MIB;
const monday = Buffer.concat([randomBytes(5 * MIB), Buffer.alloc(3 * MIB)]);
const tuesday = Buffer.from(monday);
const path = (name: string) => join(folder, name);

beforeAll(async () => {
  const all = [{ offset: 0, length: sizeBytes, content: monday }];
  await makeBackup(set, { name: 'monday', sizeBytes, label: 'disk' }, all);
  randomBytes(MIB).copy(tuesday, 4 * MIB);
  const content = tuesday.subarray(4 * MIB, 5 * MIB);
  await makeBackup(set, { name: 'tuesday', since: 'monday', sizeBytes }, [
    { offset: 4 * MIB, length: MIB, content },
  ]);
  const cancelled = await SetWriter.create(set, { name: 'wednesday', since: null, sizeBytes, label: 'disk' });
  await cancelled.abandon('cancelled', 'somebody asked for it');
});

const restore = (name: string, to: string, ...more: string[]) => [
  ...['backup', 'restore', set, '--name', name, '--to', to],
  ...more,
];

describe('backup list', () => {
  it('has every backup, and whether it is good', async () => {
    const found = await ok('backup', 'list', set);
    expect(found).toMatchObject({ set, label: 'disk', sizeBytes });
    expect(found.backups).toMatchObject([
      ...[
        {
          name: 'monday',
          state: 'good',
          parent: null,
          reason: null,
          dataBytes: 5 * MIB,
          copiedBytes: sizeBytes,
        },
      ],
      ...[{ name: 'tuesday', state: 'good', parent: 'monday', reason: null, dataBytes: MIB, sizeBytes }],
      ...[{ name: 'wednesday', state: 'cancelled', reason: 'somebody asked for it' }],
    ]);
    const { stdout } = await runHoldfast(['backup', 'list', set]);
    expect(stdout).toMatch(/tuesday +good +monday/);
    expect(stdout).toMatch(/wednesday +cancelled .*somebody asked for it/);
  });

  it('says where there is no set', async () => {
    for (const what of [path('nothing'), folder]) {
      const { exitCode, json } = await runJson(['backup', 'list', what]);
      expect(exitCode).toBe(10);
      expect(json.error).toMatchObject({
        code: 'FILE_NOT_FOUND',
        message: expect.stringContaining('no backup set'),
      });
    }
  });
});

describe('backup verify', () => {
  it('reads all good backups', async () => {
    const found = await ok('backup', 'verify', set);
    expect(found).toMatchObject({
      backups: [
        { name: 'monday', checkedPieces: 5, checkedBytes: 5 * MIB, damaged: [], subset: null },
        { name: 'tuesday', checkedPieces: 6, checkedBytes: 6 * MIB, damaged: [] },
      ],
      leftOut: [{ name: 'wednesday', state: 'cancelled' }],
    });
  });

  it('or a share of one, which can be had again', async () => {
    const verify = ['backup', 'verify', set, '--name', 'monday', '--subset', '40%'];
    const { backups } = (await ok(...verify)) as { backups: { subset: { percent: number; seed: number } }[] };
    expect(backups).toMatchObject([{ checkedPieces: 2, subset: { percent: 40 } }]);
    const again = await ok(...verify, '--seed', String(backups[0]!.subset.seed));
    expect(again.backups).toEqual(backups);
    for (const wrong of ['0%', '101', 'half', '-5%'])
      expect((await runJson(['backup', 'verify', set, `--subset=${wrong}`])).exitCode, wrong).toBe(2);
  });

  it('ends with 4 where one is damaged, and restore refuses it', async () => {
    const damaged = path('damaged');
    const content = randomBytes(2 * MIB);
    await makeBackup(damaged, { name: 'one', sizeBytes }, [{ offset: 0, length: 2 * MIB, content }]);
    const data = join(damaged, 'one', 'data');
    const bytes = await readFile(data);
    bytes[MIB + 9]! ^= 4;
    await writeFile(data, bytes);
    const { exitCode, json } = await runJson(['backup', 'verify', damaged, '--name', 'one']);
    expect(exitCode).toBe(4);
    expect(json.result).toMatchObject({
      backups: [{ name: 'one', checkedPieces: 2, damaged: [{ file: data, lengthBytes: MIB }] }],
    });
    const { stdout } = await runHoldfast(['backup', 'verify', damaged]);
    expect(stdout).toContain('one is damaged');
    const refused = await runJson(['backup', 'restore', damaged, '--name', 'one', '--to', path('never.img')]);
    expect(refused).toMatchObject({
      exitCode: 1,
      json: { error: { code: 'DATA_UNAVAILABLE', details: { file: data } } },
    });
    await truncate(data, MIB);
    const short = await runJson([
      'backup',
      'restore',
      damaged,
      '--name',
      'one',
      '--to',
      path('not-made.img'),
    ]);
    expect(short.json.error?.message).toContain('cut short');
    await expect(stat(path('not-made.img'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('says which backup is not there, or not good', async () => {
    const named = (name: string) => runJson(['backup', 'verify', set, '--name', name]);
    expect(await named('sunday')).toMatchObject({
      exitCode: 10,
      json: { error: { code: 'FILE_NOT_FOUND' } },
    });
    expect(await named('wednesday')).toMatchObject({ exitCode: 1, json: { error: { code: 'REFUSED' } } });
  });
});

describe('backup restore', () => {
  it('makes a new image, which is sparse', async () => {
    const image = path('new.img');
    const dry = await ok(...restore('tuesday', image, '--dry-run'));
    expect(dry).toMatchObject({ dryRun: true, isNew: true, writtenBytes: 5 * MIB });
    await expect(stat(image)).rejects.toMatchObject({ code: 'ENOENT' });
    const found = await ok(...restore('tuesday', image));
    expect(found).toMatchObject({
      ...{ set, name: 'tuesday', to: image, isNew: true },
      ...{ restoredBytes: sizeBytes, writtenBytes: 5 * MIB, equalBytes: 3 * MIB },
    });
    expect((await readFile(image)).equals(tuesday)).toBe(true);
    expect((await stat(image)).blocks * 512).toBeLessThan(6 * MIB);
  });

  it('writes what differs over an image that is there, when it may', async () => {
    const image = path('again.img');
    await ok(...restore('monday', image));
    const refused = await runJson(restore('tuesday', image));
    expect(refused).toMatchObject({ exitCode: 2, json: { error: { code: 'CONFIRMATION_REQUIRED' } } });
    expect((await readFile(image)).equals(monday)).toBe(true);
    expect(await ok(...restore('tuesday', image, '--dry-run'))).toMatchObject({
      isNew: false,
      writtenBytes: MIB,
    });
    expect((await readFile(image)).equals(monday)).toBe(true);
    expect(await ok(...restore('tuesday', image, '--yes'))).toMatchObject({
      writtenBytes: MIB,
      equalBytes: 7 * MIB,
    });
    expect(await ok(...restore('tuesday', image, '--yes'))).toMatchObject({ writtenBytes: 0 });
    expect((await readFile(image)).equals(tuesday)).toBe(true);
    expect(await ok(...restore('monday', image, '--yes', '--whole'))).toMatchObject({
      writtenBytes: sizeBytes,
    });
    expect((await readFile(image)).equals(monday)).toBe(true);
  });

  it('goes to a volume, whose parity is right afterwards', async () => {
    const flags = ['--members', '3', '--size', '8MiB', '--chunk', '64KiB'];
    const volume = await makeVolume(path('volume'), randomBytes(sizeBytes), flags);
    await ok(...restore('tuesday', volume.directory, '--yes'));
    expect((await readAll(volume.directory)).equals(tuesday)).toBe(true);
    expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
  });

  it('refuses what is smaller, and what is larger without --force', async () => {
    const small = path('small.img');
    await writeFile(small, Buffer.alloc(MIB, 5));
    const large = path('large.img');
    await writeFile(large, Buffer.alloc(sizeBytes + MIB, 5));
    for (const [image, more] of [
      [small, '--force'],
      [large, '--whole'],
    ] as const) {
      const before = await contentOf(image);
      const { exitCode, json } = await runJson(restore('monday', image, '--yes', more));
      expect(exitCode).toBe(1);
      expect(json.error).toMatchObject({ code: 'REFUSED', details: { image, wantedBytes: sizeBytes } });
      expect(await contentOf(image)).toEqual(before);
    }
    await ok(...restore('monday', large, '--yes', '--force'));
    expect((await readFile(large)).equals(Buffer.concat([monday, Buffer.alloc(MIB, 5)]))).toBe(true);
  });

  it('never goes into the set itself', async () => {
    const before = await contentOf(set);
    for (const to of [join(set, 'monday', 'data'), join(set, 'new.img'), set]) {
      const { exitCode, json } = await runJson(restore('tuesday', to, '--yes'));
      expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 1, code: 'REFUSED' });
    }
    expect(await contentOf(set)).toEqual(before);
  });

  it('does not go over a volume that is in use; it goes to an export', async () => {
    const image = path('served.img');
    await writeFile(image, Buffer.alloc(sizeBytes, 1));
    const served = await serve(folder, image);
    try {
      const refused = await runJson(restore('monday', image, '--yes'));
      expect(refused).toMatchObject({ exitCode: 11, json: { error: { code: 'IN_USE' } } });
      expect(await ok(...restore('monday', served.uri, '--yes'))).toMatchObject({
        isNew: false,
        writtenBytes: sizeBytes,
      });
    } finally {
      await served.stop();
    }
    expect((await readFile(image)).equals(monday)).toBe(true);
  });

  it('does not go where files are', async () => {
    const files = path('files');
    await ok('create', files, '--format', 'extents', '--members', '1', '--size', '64MiB');
    const { exitCode, json } = await runJson(restore('monday', files, '--yes', '--force'));
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 1, code: 'UNSUPPORTED' });
  });

  it.each(['SIGINT', 'SIGKILL'] as const)('stopped by %s goes on when it is run again', async (signal) => {
    if (failing === null) return notTested(`${signal} amid a restore`, 'there is no C compiler (cc)');
    const large = path(`large-${signal}`);
    const content = randomBytes(32 * MIB);
    const all = [{ offset: 0, length: content.length, content }];
    await makeBackup(large, { name: 'all', sizeBytes: content.length }, all);
    const image = path(`${signal}.img`);
    const restoreLarge = ['backup', 'restore', large, '--name', 'all', '--to', image];
    const env = failing({ files: `${signal}.img`, calls: 'w', after: 3, signal });
    const stopped = await runHoldfast([...restoreLarge, '--json'], { env });
    expect(stopped.exitCode).toBe(signal === 'SIGINT' ? 130 : 137);
    if (signal === 'SIGINT') {
      const { error } = JSON.parse(stopped.stdout) as { error: object };
      expect(error).toMatchObject({ code: 'INTERRUPTED', hint: expect.stringContaining('goes on') });
    }
    const again = (await ok(...restoreLarge, '--yes')) as { writtenBytes: number };
    expect(again.writtenBytes).toBeGreaterThan(0);
    expect(again.writtenBytes).toBeLessThan(content.length);
    expect((await readFile(image)).equals(content)).toBe(true);
  });
});
