/**
 * What holds for every command that works on volumes: help, one JSON object whatever happens, --dry-run that
 * does nothing.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, makeVolume, type TestVolume } from '../support/volumes.js';

const folder = await temporaryFolder();
let volume: TestVolume;

beforeAll(async () => {
  volume = await makeVolume(join(folder, 'volume'), randomBytes(1024));
});

const COMMANDS = [
  'create',
  'status',
  'examine',
  'read',
  'write',
  'scrub',
  'recover',
  'member fail',
  'member remove',
  'member add',
  'member replace',
  'crash inject',
  'file create',
  'file list',
  'file read',
  'file write',
  'file remove',
  'file import',
  'file export',
  'file snapshot',
  'journal status',
  'journal commit',
  'journal discard',
  'backup list',
  'backup verify',
  'backup restore',
];

it.each(COMMANDS)('%s --help says how it is used and how it ends', async (command) => {
  const { exitCode, stdout, stderr } = await runHoldfast([...command.split(' '), '--help']);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toContain(`holdfast ${command}`);
  for (const section of ['USAGE', 'FLAGS', 'EXAMPLES', 'EXIT CODES']) expect(stdout).toContain(section);
  expect(stdout).toContain('--json');
});

it.each(COMMANDS)('%s --json tells of wrong usage in one object', async (command) => {
  const { exitCode, json, stderr } = await runJson([
    ...command.split(' '),
    volume.directory,
    '--no-such-flag',
  ]);
  expect(exitCode).toBe(2);
  expect(json).toMatchObject({
    formatVersion: 1,
    command,
    exitCode: 2,
    error: { code: 'USAGE', message: expect.stringContaining('--no-such-flag') },
    warnings: [],
  });
  expect(json.result).toBeUndefined();
  expect(stderr).toBe('');
});

describe('--dry-run', () => {
  it('of what changes a volume changes nothing', async () => {
    const before = await contentOf(volume.directory);
    const fresh = join(folder, 'fresh');
    const commands = [
      ['create', join(folder, 'new'), '--size', '1MiB'],
      ['create', volume.directory, '--size', '1MiB', '--force'],
      ['member', 'fail', volume.directory, '--slot', '0'],
      ['member', 'add', volume.directory, '--image', fresh],
      ['member', 'replace', volume.directory, '--slot', '0', '--image', fresh],
    ];
    for (const command of commands) {
      const { exitCode, json } = await runJson([...command, '--dry-run']);
      expect(exitCode, command.join(' ')).toBe(0);
      expect(json.result).toMatchObject({ dryRun: true });
    }
    expect(await contentOf(volume.directory)).toEqual(before);
    expect(await readdir(folder)).toEqual(['volume']);
  });

  it('fails as the command itself would', async () => {
    const empty = join(folder, 'empty');
    await mkdir(empty);
    for (const command of ['member fail --slot 0', 'member add --image x']) {
      const { exitCode, json } = await runJson([...command.split(' '), empty, '--dry-run']);
      expect(exitCode, command).toBe(10);
      expect(json.error?.code).toBe('VOLUME_NOT_FOUND');
    }
  });
});
