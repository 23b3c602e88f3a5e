/** When a backup is good, what is found of one that is not, and what can be made beside it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { BackupReader, openSet, SetWriter } from '../../../src/snapshot/set/index.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { BLOCK_BYTES, makeBackup } from './sets.js';

const folder = await temporaryFolder();
const SCRIPT = fileURLToPath(new URL('make-backup.mjs', import.meta.url));
const sizeBytes = 4 * 1024 ** 2;
const content = new Uint8Array(BLOCK_BYTES).fill(3);
const CHANGES = [{ offset: 0, length: BLOCK_BYTES, content }];
const options = { since: null, sizeBytes, label: 'volume' };

const listOf = async (directory: string) => (await openSet(directory)).list();
const chainOf = async (directory: string, name: string) => (await openSet(directory)).chainOf(name);

/** A process that has put all of a backup and goes no further. */
async function held(directory: string, name: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [SCRIPT, directory, name, '4', 'hold'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
  });
  return child;
}

async function killed(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

describe('a backup that another process makes', () => {
  it('is running, and neither restored, nor replaced, nor built on', async () => {
    const directory = join(folder, 'running');
    const child = await held(directory, 'monday');
    try {
      expect(await listOf(directory)).toMatchObject([{ name: 'monday', state: 'running', reason: null }]);
      await expect(chainOf(directory, 'monday')).rejects.toMatchObject({ code: 'IN_USE' });
      await expect(SetWriter.create(directory, { ...options, name: 'monday' })).rejects.toMatchObject({
        code: 'IN_USE',
      });
      const since = { ...options, name: 'tuesday', since: 'monday' };
      await expect(SetWriter.create(directory, since)).rejects.toMatchObject({ code: 'IN_USE' });
      // Another one may be made beside it.
      await makeBackup(directory, { name: 'beside', sizeBytes }, CHANGES);
    } finally {
      await killed(child);
    }
    expect(await listOf(directory)).toMatchObject([
      { name: 'monday', state: 'failed' },
      { name: 'beside', state: 'good' },
    ]);
  });

  it('and is killed: it was cut, which is said, and the next one of its name takes its place', async () => {
    const directory = join(folder, 'killed');
    await killed(await held(directory, 'monday'));
    const [cut] = await listOf(directory);
    expect(cut).toMatchObject({ state: 'failed', reason: expect.stringContaining('cut') });
    await expect(chainOf(directory, 'monday')).rejects.toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining('cut'),
    });
    const since = { ...options, name: 'tuesday', since: 'monday' };
    await expect(SetWriter.create(directory, since)).rejects.toMatchObject({ code: 'REFUSED' });
    expect(await readdir(directory)).toEqual(expect.not.arrayContaining(['tuesday']));
    await makeBackup(directory, { name: 'monday', sizeBytes }, CHANGES);
    expect(await listOf(directory)).toMatchObject([{ state: 'good', dataBytes: BLOCK_BYTES }]);
  });

  it('and finds no room: that is named, and what it took is given back', async () => {
    const directory = join(folder, 'full');
    const command = `ulimit -f 2048; exec "$0" "$@"`;
    const { stdout } = spawnSync('sh', ['-c', command, process.execPath, SCRIPT, directory, 'monday', '4']);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      code: 'NO_SPACE',
      message: expect.stringContaining(join(directory, 'monday', 'data')),
      hint: expect.stringContaining('make the backup again'),
      details: { file: join(directory, 'monday', 'data') },
    });
    expect(await listOf(directory)).toMatchObject([
      { state: 'failed', reason: expect.stringContaining('cannot be written'), dataBytes: 0 },
    ]);
    expect((await stat(join(directory, 'monday', 'data'))).size).toBe(0);
  });
});

describe('what is left of a beginning that was cut', () => {
  it('an empty folder is one that was cut', async () => {
    const directory = join(folder, 'empty-folder');
    await makeBackup(directory, { name: 'good', sizeBytes }, CHANGES);
    await mkdir(join(directory, 'cut'));
    expect(await listOf(directory)).toMatchObject([
      { name: 'cut', state: 'failed', sizeBytes: null },
      { name: 'good', state: 'good' },
    ]);
    await makeBackup(directory, { name: 'cut', sizeBytes }, CHANGES);
    expect((await listOf(directory)).map(({ state }) => state)).toEqual(['good', 'good']);
  });

  it('a set.json that was not written is written by the next', async () => {
    const directory = join(folder, 'empty-set');
    await mkdir(directory);
    await writeFile(join(directory, 'set.json'), '{"kind": ');
    await makeBackup(directory, { name: 'good', sizeBytes }, CHANGES);
    expect(await listOf(directory)).toMatchObject([{ state: 'good' }]);
  });
});

describe('a backup', () => {
  it('that is abandoned says so, and takes no more', async () => {
    const directory = join(folder, 'abandoned');
    const writer = await SetWriter.create(directory, { ...options, name: 'monday' });
    await writer.put(0, content);
    await writer.abandon('cancelled', 'somebody asked for it');
    await expect(writer.put(0, content)).rejects.toThrow('abandoned');
    await expect(writer.finish()).rejects.toThrow('abandoned');
    expect(await listOf(directory)).toMatchObject([{ state: 'cancelled', reason: 'somebody asked for it' }]);
    await expect(BackupReader.open(await openSet(directory), 'monday')).rejects.toMatchObject({
      code: 'REFUSED',
    });
    await makeBackup(directory, { name: 'monday', sizeBytes }, CHANGES);
    expect(await listOf(directory)).toMatchObject([{ state: 'good' }]);
  });

  it('that is good is never replaced, nor abandoned', async () => {
    const directory = join(folder, 'taken');
    const writer = await makeBackup(directory, { name: 'monday', sizeBytes }, CHANGES);
    await writer.abandon('failed', 'too late');
    await expect(SetWriter.create(directory, { ...options, name: 'monday' })).rejects.toMatchObject({
      code: 'FILE_EXISTS',
    });
    expect(await listOf(directory)).toMatchObject([{ state: 'good', dataBytes: BLOCK_BYTES }]);
  });

  it('is not made since one that is not there, or of another size', async () => {
    const directory = join(folder, 'since');
    await makeBackup(directory, { name: 'monday', sizeBytes }, CHANGES);
    const since = (name: string, bytes: number) =>
      SetWriter.create(directory, { ...options, name: 'tuesday', since: name, sizeBytes: bytes });
    await expect(since('sunday', sizeBytes)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(since('monday', 2 * sizeBytes)).rejects.toMatchObject({ code: 'REFUSED' });
    // The volume may have grown: then one that has all is made in the same set.
    await makeBackup(directory, { name: 'tuesday', sizeBytes: 2 * sizeBytes }, CHANGES);
    expect((await listOf(directory)).map((one) => one.sizeBytes)).toEqual([sizeBytes, 2 * sizeBytes]);
  });

  it.each(['', '.', '..', 'a/b', '.hidden', 'set.json', 'set.json.new', 'x'.repeat(256), 'nul\0'])(
    'is not called %j',
    async (name) => {
      const create = SetWriter.create(join(folder, 'names'), { ...options, name });
      await expect(create).rejects.toMatchObject({ code: 'USAGE' });
      expect(await readdir(folder)).toEqual(expect.not.arrayContaining(['names']));
    },
  );
});

describe('a directory', () => {
  it('that holds something else does not become a set', async () => {
    const directory = join(folder, 'other');
    await mkdir(directory);
    await writeFile(join(directory, 'letter.txt'), 'Dear');
    await expect(SetWriter.create(directory, { ...options, name: 'monday' })).rejects.toMatchObject({
      code: 'NOT_BLANK',
    });
    expect(await readdir(directory)).toEqual(['letter.txt']);
    await expect(openSet(directory)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });

  it('becomes one set, whoever comes first', async () => {
    const directory = join(folder, 'at-once');
    await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => makeBackup(directory, { name, sizeBytes }, CHANGES)),
    );
    expect((await listOf(directory)).map(({ state }) => state)).toEqual(['good', 'good', 'good', 'good']);
  });
});
