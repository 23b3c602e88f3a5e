/** `holdfast file ...` and `holdfast journal ...` as a user runs them, on RAID-5 and on one image. */
import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { okQuietly as ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const MIB = 1024 * 1024;

async function newVolume(name: string, ...args: string[]): Promise<string> {
  const volume = join(folder, name);
  const made = await runHoldfast(['create', volume, '--format', 'extents', ...args]);
  expect(made).toMatchObject({ exitCode: 0, stderr: '' });
  return volume;
}

async function readFileOf(volume: string, name: string, ...args: string[]): Promise<Buffer> {
  const { exitCode, stdoutBytes, stderr } = await runHoldfast(['file', 'read', volume, name, ...args]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return stdoutBytes;
}

describe.each([
  ['RAID-5', ['--members', '3', '--size', '24MiB', '--extent', '128KiB']],
  ['one image', ['--members', '1', '--size', '24MiB']],
] as const)('files of a volume on %s', { timeout: 240_000 }, (kind, shape) => {
  const content = randomBytes(3 * MIB + 777);
  const input = join(folder, `input of ${kind}`);
  let volume = '';

  beforeAll(async () => {
    await writeFile(input, content);
    volume = await newVolume(`files on ${kind}`, ...shape);
  }, 120_000);

  it('come in, are listed, are read in part and as a whole, and go out with holes', async () => {
    const imported = await ok('file', 'import', volume, 'disk', '--input', input);
    expect(imported).toMatchObject({
      name: 'disk',
      writtenBytes: content.length,
      isCommitted: true,
      journal: { commits: 1, copiedBlocks: 0, copiedHomeBlocks: 0 },
    });
    await ok('file', 'create', volume, 'sparse', '--size', '8MiB');
    expect(await ok('file', 'list', volume)).toMatchObject({
      files: [
        { name: 'disk', sizeBytes: content.length, isReadOnly: false, snapshotOf: null },
        { name: 'sparse', sizeBytes: 8 * MIB },
      ],
    });
    expect(Buffer.compare(await readFileOf(volume, 'disk'), content)).toBe(0);
    const part = await readFileOf(volume, 'disk', '--offset', '1000001', '--length', '70000');
    expect(Buffer.compare(part, content.subarray(1000001, 1070001))).toBe(0);
    const output = join(folder, `output of ${kind}`);
    await ok(
      'file',
      'write',
      volume,
      'sparse',
      '--offset',
      '4MiB',
      '--input',
      input,
      '--commit-every',
      '1MiB',
    );
    await ok('file', 'export', volume, 'sparse', '--output', output);
    const expected = Buffer.alloc(8 * MIB);
    content.copy(expected, 4 * MIB);
    expect(Buffer.compare(await readFile(output), expected)).toBe(0);
    expect((await stat(output)).blocks * 512).toBeLessThan(5 * MIB);
  });

  it('have what is not committed in the journal, for whoever commits or discards it', async () => {
    const before = await readFileOf(volume, 'disk');
    await ok('file', 'write', volume, 'disk', '--offset', '100', '--input', input, '--no-commit');
    expect(Buffer.compare(await readFileOf(volume, 'disk'), before)).toBe(0);
    const seen = await readFileOf(volume, 'disk', '--uncommitted', '--offset', '100', '--length', '5000');
    expect(Buffer.compare(seen, content.subarray(0, 5000))).toBe(0);
    expect(await ok('journal', 'status', volume)).toMatchObject({ files: [{ name: 'disk' }] });
    await ok('journal', 'discard', volume, 'disk', '--yes');
    expect(await ok('journal', 'status', volume)).toMatchObject({ files: [] });
    expect(Buffer.compare(await readFileOf(volume, 'disk', '--uncommitted'), before)).toBe(0);
    await ok('file', 'write', volume, 'disk', '--offset', '100', '--input', input, '--no-commit');
    await ok('journal', 'commit', volume);
    const after = await readFileOf(volume, 'disk');
    expect(Buffer.compare(after.subarray(100), content)).toBe(0);
  });

  it('are kept by snapshots, which stay when the file goes', async () => {
    const before = await readFileOf(volume, 'disk');
    await ok('file', 'snapshot', volume, 'disk', '--as', 'monday');
    await runHoldfast(['file', 'write', volume, 'disk', '--offset', '4096'], { input: randomBytes(9000) });
    expect(Buffer.compare(await readFileOf(volume, 'disk'), before)).not.toBe(0);
    const refused = await runJson(['file', 'write', volume, 'monday', '--input', input]);
    expect(refused.json.error?.code).toBe('PERMISSION_DENIED');
    await ok('file', 'remove', volume, 'disk', '--yes');
    expect(Buffer.compare(await readFileOf(volume, 'monday'), before)).toBe(0);
    expect((await runJson(['file', 'read', volume, 'disk'])).json.exitCode).toBe(10);
    await ok('file', 'remove', volume, 'monday', '--yes');
    expect(await ok('file', 'list', volume)).toMatchObject({ files: [{ name: 'sparse' }] });
  });

  it('leave a volume that is clean, and has nothing wrong with it', async () => {
    expect(await ok('status', volume)).toMatchObject({ format: 'extents', state: 'clean' });
    expect(await ok('fsck', volume, '-n')).toMatchObject({ findings: [] });
  });
});

describe('it is told clearly that', { timeout: 120_000 }, () => {
  let volume = '';
  let raw = '';

  beforeAll(async () => {
    volume = await newVolume('small', '--members', '1', '--size', '2MiB');
    raw = join(folder, 'raw');
    await runHoldfast(['create', raw, '--members', '1', '--size', '1MiB']);
    await ok('file', 'create', volume, 'there', '--size', '1MiB');
  }, 120_000);

  it.each<[string, string[], string, number]>([
    ['a file is not there', ['file', 'write', 'V', 'gone', '--input', '/dev/null'], 'FILE_NOT_FOUND', 10],
    ['a file is not there to be removed', ['file', 'remove', 'V', 'gone', '--yes'], 'FILE_NOT_FOUND', 10],
    ['nothing of it can be discarded', ['journal', 'discard', 'V', 'gone', '--yes'], 'FILE_NOT_FOUND', 10],
    ['there is a file of that name', ['file', 'create', 'V', 'there'], 'FILE_EXISTS', 1],
    ['a name has a slash', ['file', 'create', 'V', 'a/b'], 'USAGE', 2],
    ['a name is too long', ['file', 'create', 'V', 'x'.repeat(300)], 'USAGE', 2],
    [
      'a read is past the end',
      ['file', 'read', 'V', 'there', '--offset', '2MiB', '--length', '1'],
      'OUT_OF_RANGE',
      1,
    ],
    ['removing wants a yes', ['file', 'remove', 'V', 'there'], 'CONFIRMATION_REQUIRED', 2],
    ['there is no room', ['file', 'import', 'V', 'big', '--input', '/dev/zero'], 'NO_SPACE', 1],
    ['a raw volume has no files', ['file', 'list', 'R'], 'UNSUPPORTED', 1],
  ])('%s', async (_, args, code, exitCode) => {
    const words = args.map((word) => (word === 'V' ? volume : word === 'R' ? raw : word));
    const { json } = await runJson(words);
    expect({ code: json.error?.code, exitCode: json.exitCode }).toEqual({ code, exitCode });
    expect(await ok('file', 'list', volume)).toMatchObject({ files: [{ name: 'there' }] });
  });

  it('a write that found no more room had committed a part', async () => {
    const { json } = await runJson(['file', 'write', volume, 'there', '--input', '/dev/zero']);
    expect(json).toMatchObject({ exitCode: 1, error: { code: 'NO_SPACE' } });
    expect(json.warnings).toEqual([expect.stringContaining('there is not as it was')]);
  });

  it('a name has a newline: it makes up no row of the list', async () => {
    const name = 'one\ntwo';
    await ok('file', 'create', volume, name);
    const { stdout } = await runHoldfast(['file', 'list', volume]);
    await ok('file', 'remove', volume, name, '--yes');
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[1]).toMatch(/^one\\ntwo {2}/);
  });
});
