/**
 * `--flags metadata | local | data` as a user runs it (data journaling, paragraphs 29 and 31): kept in one process, found by
 * the next, on RAID-5 and on one image; and what becomes of it where the place is gone.
 */
import { randomBytes } from 'node:crypto';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { okQuietly as ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const LOCAL_FILE = 'holdfast.flags-holdfast';
const content = randomBytes(700_000);
const input = join(folder, 'input');
await writeFile(input, content);

const SHAPES = {
  raid: ['--members', '3', '--size', '16MiB', '--extent', '128KiB'],
  single: ['--members', '1', '--size', '16MiB'],
} as const;

async function newVolume(name: string, shape: keyof typeof SHAPES, ...more: string[]): Promise<string> {
  const volume = join(folder, name);
  await ok('create', volume, '--format', 'extents', ...SHAPES[shape], ...more);
  await ok('file', 'create', volume, 'disk', '--size', '4MiB');
  return volume;
}

function keep(volume: string, ...more: string[]): Promise<Record<string, unknown>> {
  return ok('file', 'write', volume, 'disk', '--offset', '100', '--input', input, '--no-commit', ...more);
}

async function isWritten(volume: string, ...more: string[]): Promise<boolean> {
  const range = ['--offset', '100', '--length', String(content.length)];
  const { stdoutBytes } = await runHoldfast(['file', 'read', volume, 'disk', ...range, ...more]);
  return Buffer.compare(stdoutBytes, content) === 0;
}

describe('the next process', { timeout: 240_000 }, () => {
  it.each([
    ['raid', 'metadata'],
    ['raid', 'local'],
    ['raid', 'data'],
    ['single', 'data'],
  ] as const)(
    'on %s what is kept in the place %s is found, shown, sound, and committed',
    async (shape, flags) => {
      const volume = await newVolume(`${shape} ${flags}`, shape, '--flags', flags);
      await keep(volume);
      expect(await ok('journal', 'status', volume)).toMatchObject({
        files: [{ name: 'disk', flags }],
      });
      const status = await ok('status', volume);
      expect(status.extents).toMatchObject({ flags, uncommitted: expect.any(Number) });
      expect((status.extents as { uncommitted: number }).uncommitted).toBeGreaterThan(0);
      expect((await ok('fsck', '-n', volume)).findings).toEqual([]);
      await ok('recover', volume);
      expect((await readdir(volume)).includes(LOCAL_FILE)).toBe(flags === 'local');
      expect([await isWritten(volume), await isWritten(volume, '--uncommitted')]).toEqual([false, true]);
      await ok('journal', 'commit', volume);
      expect(await isWritten(volume)).toBe(true);
      expect((await ok('journal', 'status', volume)).space).toMatchObject({ journal: 0 });
      expect((await ok('fsck', '-n', volume)).findings).toEqual([]);
    },
  );
});

describe('--flags', { timeout: 240_000 }, () => {
  it('of a command is for that command', async () => {
    const volume = await newVolume('once', 'single');
    await keep(volume, '--flags', 'data');
    expect(await ok('journal', 'status', volume)).toMatchObject({ files: [{ flags: 'data' }] });
    await keep(volume);
    expect(await ok('journal', 'status', volume)).toMatchObject({ files: [{ flags: 'metadata' }] });
    await ok('journal', 'discard', volume, '--yes');
    expect((await ok('journal', 'status', volume)).space).toMatchObject({ journal: 0 });
  });

  it('is for volumes of files, and for what is not committed', async () => {
    const raw = await runJson(['create', join(folder, 'raw'), '--size', '1MiB', '--flags', 'data']);
    expect(raw.json.error).toMatchObject({ code: 'USAGE', message: expect.stringContaining('--flags') });
    const committed = await runJson(['file', 'write', 'any', 'disk', '--flags', 'local']);
    expect(committed.json.error).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('--no-commit'),
    });
  });

  it('local: a copy of the volume without the file has lost what was kept, as a whole, and says so', async () => {
    const volume = await newVolume('from', 'raid', '--flags', 'local');
    await keep(volume);
    const copy = join(folder, 'to');
    await cp(volume, copy, { recursive: true });
    await rm(join(copy, LOCAL_FILE));
    const { json } = await runJson(['recover', copy]);
    expect(json.warnings).toEqual([
      expect.stringMatching(/^disk: what was kept .* is given up, 6 journal extents/),
    ]);
    expect(await isWritten(copy, '--uncommitted')).toBe(false);
    expect((await ok('journal', 'status', copy)).space).toMatchObject({ journal: 0 });
    expect((await ok('fsck', '-n', copy)).findings).toEqual([]);
    expect(await isWritten(volume, '--uncommitted')).toBe(true);
  });

  it('local: named by its image a volume has no place for it, and leaves what is kept alone', async () => {
    const volume = await newVolume('named', 'single', '--flags', 'local');
    await keep(volume);
    const image = join(volume, 'disk.img');
    const refused = await runJson(['file', 'write', image, 'disk', '--input', input]);
    expect(refused.json.error).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('disk'),
    });
    expect(await ok('journal', 'status', image)).toMatchObject({
      files: [{ name: 'disk', flags: 'local', away: expect.any(String) }],
    });
    expect(await isWritten(volume, '--uncommitted')).toBe(true);
    await ok('journal', 'discard', image, '--yes');
    expect((await ok('journal', 'status', volume)).files).toEqual([]);
  });

  it('local: a new volume in the same directory has nothing to do with the file of the old one', async () => {
    const volume = await newVolume('again', 'single', '--flags', 'local');
    await keep(volume);
    const shape = ['--members', '1', '--size', '8MiB', '--extent', '128KiB'];
    await ok('create', volume, '--format', 'extents', '--flags', 'local', ...shape, '--force', '--yes');
    expect((await readdir(volume)).includes(LOCAL_FILE)).toBe(false);
    await ok('file', 'create', volume, 'disk', '--size', '4MiB');
    await keep(volume);
    expect(await isWritten(volume, '--uncommitted')).toBe(true);
  });
});
