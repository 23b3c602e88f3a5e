/**
 * Images that may not be used: by permission, because another process has them, or a loop device. Nothing is
 * written, and the error names what stands in the way.
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type RunOptions, runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import {
  contentOf,
  copyVolume,
  makeVolume,
  notTested,
  readAll,
  statusOf,
  type TestVolume,
} from '../support/volumes.js';

const folder = await temporaryFolder();
const content = randomBytes(1024 ** 2);
const NOBODY = 65534;
let original: TestVolume;
let volume: TestVolume;
let count = 0;

beforeAll(async () => {
  await chmod(folder, 0o755);
  original = await makeVolume(join(folder, 'original'), content);
});

beforeEach(async () => {
  volume = await copyVolume(original, join(folder, `volume-${count++}`));
});

/** As who has no right to what belongs to us; null where such a user cannot be had. */
async function stranger(): Promise<RunOptions | null> {
  if (process.getuid?.() !== 0) return {};
  const options = { uid: NOBODY, env: { HOME: folder } };
  const { exitCode, stderr } = await runHoldfast(['--version'], options);
  if (exitCode === 0) return options;
  notTested('permissions', `another user cannot run holdfast here: ${stderr.split('\n')[0]}`);
  return null;
}

describe('an image', () => {
  it('that may not be read is never taken for a missing one', async () => {
    const user = await stranger();
    if (user === null) return;
    const image = volume.images[1]!;
    const before = await contentOf(volume.directory);
    await chmod(image, 0o000);
    for (const command of ['status', 'write']) {
      const { exitCode, json } = await runJson([command, volume.directory], user);
      expect(exitCode, command).toBe(1);
      expect(json.error).toMatchObject({ code: 'PERMISSION_DENIED', details: { image } });
      expect(json.error?.message).toContain(image);
      expect(json.error?.hint).toContain('permissions');
    }
    await chmod(image, 0o644);
    expect(await contentOf(volume.directory)).toEqual(before);
  });

  it('that may only be read is read, and not written', async () => {
    const user = await stranger();
    if (user === null) return;
    const before = await contentOf(volume.directory);
    for (const image of volume.images) await chmod(image, 0o444);
    expect((await runJson(['status', volume.directory], user)).exitCode).toBe(0);
    const read = await runHoldfast(['read', volume.directory], user);
    expect(read.stdoutBytes.equals(content)).toBe(true);
    for (const args of [
      ['write', volume.directory],
      ['member', 'fail', volume.directory, '--slot', '1'],
    ]) {
      const { exitCode, json } = await runJson(args, { ...user, input: 'x' });
      expect(exitCode, args.join(' ')).toBe(1);
      expect(json.error).toMatchObject({ code: 'PERMISSION_DENIED' });
      expect(volume.images).toContain(json.error?.details.image);
    }
    expect(await contentOf(volume.directory)).toEqual(before);
  });
});

describe('a directory', () => {
  it('that may not be looked into, or not written, is named', async () => {
    const user = await stranger();
    if (user === null) return;
    const made = join(volume.directory, 'new');
    await chmod(volume.directory, 0o555);
    const create = await runJson(['create', made, '--size', '1MiB'], user);
    expect(create).toMatchObject({ exitCode: 1, json: { error: { code: 'PERMISSION_DENIED' } } });
    expect(create.json.error?.message).toContain(made);
    await chmod(volume.directory, 0o000);
    const status = await runJson(['status', volume.directory], user);
    expect(status).toMatchObject({ exitCode: 1, json: { error: { code: 'PERMISSION_DENIED' } } });
    expect(status.json.error?.message).toContain(volume.directory);
    await chmod(volume.directory, 0o755);
  });
});

describe('a volume that another process', () => {
  /** Runs `body` while a first piece was written and the writer waits for the next. */
  async function whileWritten(body: (writer: ChildProcess) => Promise<void>): Promise<number> {
    let failure: unknown;
    const { exitCode } = await runHoldfast(['write', volume.directory, '--fua'], {
      onStart: (writer) => {
        writer.stdin?.write(content);
        const work = async (): Promise<void> => {
          while ((await statusOf(volume.directory)).holder === null);
          await body(writer);
        };
        work()
          .catch((error: unknown) => {
            failure = error;
          })
          .finally(() => writer.stdin?.end());
      },
    });
    if (failure !== undefined) throw failure;
    return exitCode;
  }

  it('writes is active, and in use (11) for everyone who would read or write', async () => {
    const exitCode = await whileWritten(async (writer) => {
      const status = await statusOf(volume.directory);
      expect(status).toMatchObject({ exitCode: 0, state: 'active', holder: { pid: writer.pid } });
      const people = await runHoldfast(['status', volume.directory]);
      expect(people.stdout).toMatch(new RegExp(`Open in: .*process ${writer.pid}`));
      const commands = [
        ['read'],
        ['write'],
        ['scrub'],
        ['create', '--members', '3', '--size', '1MiB', '--force', '--yes'],
      ];
      for (const command of commands) {
        const { exitCode: code, json } = await runJson([...command, volume.directory]);
        expect(code, command.join(' ')).toBe(11);
        expect(json.error).toMatchObject({ code: 'IN_USE' });
        expect(json.error?.message).toContain(`process ${writer.pid}`);
        expect(volume.images).toContain(json.error?.details.image);
      }
    });
    expect(exitCode).toBe(0);
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 0, state: 'clean' });
    expect((await readAll(volume.directory)).equals(content)).toBe(true);
  });

  it('reads can be read, and not written', async () => {
    // More than a pipe holds: the reader waits in the middle.
    let written: unknown;
    let read: unknown;
    const { exitCode } = await runHoldfast(['read', volume.directory], {
      onStart: (reader) => {
        // Its first bytes say that it has the volume open: a writer before it would be in its way.
        reader.stdout?.once('data', () => {
          reader.stdout?.pause();
          const work = async (): Promise<void> => {
            written = (await runJson(['write', volume.directory])).json;
            read = (await readAll(volume.directory)).equals(content);
          };
          void work().finally(() => reader.stdout?.resume());
        });
      },
    });
    expect(exitCode).toBe(0);
    expect(written).toMatchObject({ exitCode: 11, error: { code: 'IN_USE' } });
    expect(read).toBe(true);
  });
});

describe('an image that is attached to a loop device', () => {
  let device = '';

  afterAll(() => {
    if (device !== '') spawnSync('losetup', ['--detach', device]);
  });

  it('is in use (11), and the loop device is named', async () => {
    const image = volume.images[2]!;
    const attached = spawnSync('losetup', ['--find', '--show', image], { encoding: 'utf8' });
    if (attached.status !== 0) {
      return notTested('a loop device', `losetup: ${attached.error?.message ?? attached.stderr}`);
    }
    device = attached.stdout.trim();
    const before = await contentOf(volume.directory);
    const { exitCode, json } = await runJson(['write', volume.directory], { input: 'x' });
    expect(exitCode).toBe(11);
    expect(json.error).toMatchObject({ code: 'IN_USE', details: { image } });
    expect(json.error?.message).toContain(device);
    expect(json.error?.hint).toContain(`losetup --detach ${device}`);
    expect(await contentOf(volume.directory)).toEqual(before);
    expect((await readAll(volume.directory)).equals(content)).toBe(true);
  });
});

describe('what is no image', () => {
  it('in the place of a member is named, and left alone', async () => {
    const place = join(folder, `place-${count}`);
    await mkdir(place);
    for (const args of [
      ['create', join(folder, `new-${count}`), '--members', '1', '--size', '1MiB', '--image', place],
      ['examine', place],
      ['read', '/dev/null'],
    ]) {
      const { exitCode, json } = await runJson(args);
      expect(exitCode, args.join(' ')).toBe(1);
      expect(json.error?.code).toBe('UNSUPPORTED');
      expect(json.error?.message).toContain('not an image');
    }
  });
});
