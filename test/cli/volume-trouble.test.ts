/** What goes wrong with volumes, through the built binary: each has its exit code, and nothing is lost. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runHoldfast, runJson, runOnTerminal } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
let count = 0;
let volume = '';
const member = (slot: number): string => join(volume, `member-${slot}.img`);

/** Made once; each test has a copy, whose manifest names its members relative to itself. */
const template = join(folder, 'template');

beforeAll(async () => {
  const { exitCode, stderr } = await runHoldfast(['create', template, '--members', '3', '--size', '2MiB']);
  expect(exitCode, stderr).toBe(0);
});

beforeEach(async () => {
  volume = join(folder, `vol-${count++}`);
  await cp(template, volume, { recursive: true });
});

async function status(): Promise<{ exitCode: number; state: unknown; dirtyStripes: unknown }> {
  const { exitCode, json } = await runJson(['status', volume]);
  return { exitCode, state: json.result?.state, dirtyStripes: json.result?.dirtyStripes };
}

/** Gives the command a first piece of input, waits until the volume is open in it, and then does something. */
function whenWriting(act: (child: ChildProcess) => Promise<void> | void) {
  return (child: ChildProcess): void => {
    child.stdin?.write(randomBytes(300_000));
    const poll = async (): Promise<void> => {
      for (;;) {
        const { json } = await runJson(['status', volume]);
        if (json.result?.holder !== null && json.result?.state !== 'clean') break;
      }
      await act(child);
    };
    poll().catch((error: unknown) => {
      child.kill('SIGKILL');
      throw error;
    });
  };
}

/** Leaves the volume as a process that was killed amid writes leaves it. */
async function killAmidWrites(): Promise<void> {
  const onStart = whenWriting((child) => void child.kill('SIGKILL'));
  // It is active from its opening on: the kill may come before the first write, or when all has come to rest again.
  do {
    const { exitCode } = await runHoldfast(['write', volume, '--input', '-', '--fua'], { onStart });
    expect(exitCode).toBe(137);
  } while ((await status()).state === 'clean');
}

describe('a volume that another process writes', () => {
  it('is active in status, is in use for others (11), and is clean after Ctrl-C (130)', async () => {
    let seen: unknown;
    let second: unknown;
    const onStart = whenWriting(async (child) => {
      seen = await status();
      second = (await runJson(['write', volume, '--input', '-'], { input: 'x' })).json;
      child.kill('SIGINT');
    });
    const { exitCode, stderr } = await runHoldfast(['write', volume, '--input', '-', '--fua'], { onStart });
    expect(exitCode, stderr).toBe(130);
    expect(seen).toMatchObject({ exitCode: 0, state: 'active' });
    expect(second).toMatchObject({ exitCode: 11, error: { code: 'IN_USE' } });
    expect(await status()).toMatchObject({ exitCode: 0, state: 'clean' });
  });
});

describe('a volume that was not closed', () => {
  it('is dirty; reading leaves it so; recover makes it clean', async () => {
    await killAmidWrites();
    expect(await status()).toMatchObject({ exitCode: 3, state: 'dirty', dirtyStripes: expect.any(Number) });
    expect(
      (await runJson(['read', volume, '--length', '512', '--output', join(folder, 'out')])).exitCode,
    ).toBe(0);
    expect((await runJson(['scrub', volume])).exitCode).toBeLessThanOrEqual(3);
    expect(await status()).toMatchObject({ exitCode: 3, state: 'dirty' });
    const { exitCode, json } = await runJson(['recover', volume]);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ redoneTransactions: 0, seconds: expect.any(Number) });
    expect(json.result?.resyncedStripes).toBeGreaterThan(0);
    expect(json.result?.resyncedBytes).toBeGreaterThan(0);
    expect(await status()).toMatchObject({ exitCode: 0, state: 'clean', dirtyStripes: 0 });
    expect((await runJson(['scrub', volume])).exitCode).toBe(0);
  });

  it('is recovered by the next command that writes, which says so', async () => {
    await killAmidWrites();
    const { exitCode, json } = await runJson(['write', volume, '--input', '-'], { input: 'x' });
    expect(exitCode).toBe(0);
    expect(json.warnings.join()).toMatch(/not closed/);
    expect(await status()).toMatchObject({ exitCode: 0, state: 'clean' });
  });

  it('and has lost a member, is refused for writing without --force', async () => {
    await killAmidWrites();
    await rename(member(1), join(folder, 'away'));
    expect(await status()).toMatchObject({ exitCode: 4, state: 'dirty-degraded' });
    const refused = await runJson(['write', volume, '--input', '-'], { input: 'x' });
    expect(refused).toMatchObject({ exitCode: 1, json: { error: { code: 'REFUSED' } } });
    expect((await runJson(['recover', volume])).exitCode).toBe(1);
    const forced = await runJson(['recover', volume, '--force']);
    expect(forced.exitCode).toBe(0);
    expect(forced.json.warnings.join()).toMatch(/dirty and degraded/);
    const { exitCode, json } = await runJson(['status', volume]);
    const { state, inDoubt } = json.result as { state: string; inDoubt: readonly object[] };
    // What the member that is gone held of the stripes that were being written stays in doubt.
    expect({ exitCode, state }).toEqual({ exitCode: inDoubt.length > 0 ? 4 : 3, state: 'degraded' });
  });
});

describe('create', () => {
  it('does not make a volume of one that is there', async () => {
    const before = await readFile(member(0));
    const again = ['create', volume, '--members', '3', '--size', '2MiB'];
    expect(await runJson(again)).toMatchObject({ exitCode: 1, json: { error: { code: 'NOT_BLANK' } } });
    expect(await runJson([...again, '--yes'])).toMatchObject({
      exitCode: 1,
      json: { error: { code: 'NOT_BLANK' } },
    });
    const forced = await runJson([...again, '--force']);
    expect(forced).toMatchObject({ exitCode: 2, json: { error: { code: 'CONFIRMATION_REQUIRED' } } });
    const dry = await runJson([...again, '--force', '--dry-run']);
    expect(dry).toMatchObject({ exitCode: 0, json: { result: { dryRun: true } } });
    expect((await readFile(member(0))).equals(before)).toBe(true);
    expect((await runJson([...again, '--force', '--yes'])).exitCode).toBe(0);
    expect((await readFile(member(0))).equals(before)).toBe(false);
  });

  it('on a terminal asks before it overwrites', async () => {
    const again = ['create', volume, '--members', '3', '--size', '2MiB', '--force'];
    const { exitCode, stdout } = await runOnTerminal(again, {
      awaited: 'Overwrite',
      answers: 'n\r',
    });
    expect(exitCode).toBe(2);
    expect(stdout).toContain('nothing was done');
  });

  it('on a terminal asks for what it was not told', async () => {
    const asked = `${volume}-asked`;
    const { exitCode, stdout } = await runOnTerminal(
      ['create', asked, '--members', '3', '--chunk', '4K', '--layout', 'parity-last'],
      {
        awaited: 'Usable size?',
        answers: '3MiB\r',
      },
    );
    expect(exitCode, stdout).toBe(0);
    const { json } = await runJson(['status', asked]);
    expect(json.result).toMatchObject({
      sizeBytes: 3 * 1024 ** 2,
      raid: { layout: 'parity-last', chunkBytes: 4096 },
    });
  });

  it.each([
    [['--members', '3'], 'missing: --size'],
    [['--members', '2', '--size', '1M'], '3 to 64 members'],
    [['--members', '65', '--size', '1M'], '1 to 64'],
    [['--members', '3', '--size', '1M', '--chunk', '48K'], 'power of two'],
    [['--members', '3', '--size', '1M', '--image', 'one.img'], '3 members need 3 images'],
    [['--size', '1.5M'], 'not a size'],
  ])('%j is wrong usage, and nothing is made', async (flags, message) => {
    const { exitCode, json } = await runJson(['create', `${volume}-new`, ...flags]);
    expect(exitCode).toBe(2);
    expect(json.error?.message).toContain(message);
    await expect(stat(`${volume}-new`)).rejects.toThrow('ENOENT');
  });

  it('with --members 1 makes one plain image', async () => {
    const plain = `${volume}-plain`;
    expect((await runJson(['create', plain, '--members', '1', '--size', '1MB'])).exitCode).toBe(0);
    const { json } = await runJson(['status', plain]);
    expect(json.result).toMatchObject({ format: 'raw', state: 'clean', members: [] });
    expect(json.result?.raid).toBeUndefined();
    const scrub = await runJson(['scrub', plain]);
    expect(scrub).toMatchObject({ exitCode: 1, json: { error: { code: 'UNSUPPORTED' } } });
  });
});

describe('read and write', () => {
  it.each([
    ['status', []],
    ['read', ['--output', '-']],
    ['write', ['--input', '-']],
    ['scrub', []],
    ['recover', []],
    ['examine', []],
    ['member add', ['--slot', '0']],
  ])('%s of no volume: 10', async (command, flags) => {
    const { exitCode, json } = await runJson([...command.split(' '), join(folder, 'gone'), ...flags]);
    expect(exitCode).toBe(10);
    expect(json).toMatchObject({ command, error: { code: 'VOLUME_NOT_FOUND' } });
    expect(json.error?.message).toContain('gone');
  });

  it('reach no byte beyond the end, and a file that does not fit costs none', async () => {
    const output = join(folder, 'kept');
    await writeFile(output, 'kept');
    const read = await runJson(['read', volume, '--offset', '2M', '--length', '1M', '--output', output]);
    expect(read).toMatchObject({ exitCode: 1, json: { error: { code: 'OUT_OF_RANGE' } } });
    expect(await readFile(output, 'utf8')).toBe('kept');
    const input = join(folder, 'large');
    await writeFile(input, randomBytes(3 * 1024 ** 2));
    const write = await runJson(['write', volume, '--input', input]);
    expect(write).toMatchObject({ exitCode: 1, json: { error: { code: 'OUT_OF_RANGE' } } });
    const { stdoutBytes } = await runHoldfast(['read', volume, '--length', '1M', '--output', '-']);
    expect(stdoutBytes.equals(Buffer.alloc(1024 ** 2))).toBe(true);
  });

  it('name the file that cannot be used', async () => {
    const gone = await runJson(['write', volume, '--input', join(folder, 'gone')]);
    expect(gone.json.error).toMatchObject({ code: 'IO_ERROR', message: expect.stringContaining('gone') });
    const directory = await runJson(['write', volume, '--input', folder]);
    expect(directory).toMatchObject({ exitCode: 2, json: { error: { code: 'USAGE' } } });
    const full = await runJson(['read', volume, '--output', '/dev/full']);
    expect(full.json.error).toMatchObject({ code: 'NO_SPACE', details: { file: '/dev/full' } });
  });

  it('never empty an image of the volume', async () => {
    const before = await readFile(member(0));
    const { json } = await runJson(['read', volume, '--output', member(0)]);
    expect(json.error?.code).toBe('REFUSED');
    expect((await readFile(member(0))).equals(before)).toBe(true);
  });

  it('on a terminal want a file', async () => {
    const { exitCode, stdout } = await runOnTerminal(['read', volume]);
    expect(exitCode).toBe(2);
    expect(stdout).toContain('data would go to the terminal');
  });
});

describe('examine', () => {
  it('shows what is on each image, and what is damaged', async () => {
    const blank = join(folder, 'blank.img');
    await writeFile(blank, Buffer.alloc(1024 ** 2));
    const well = await runJson(['examine', member(0), blank]);
    expect(well.exitCode).toBe(0);
    expect(well.json.result).toMatchObject({
      images: [
        { image: member(0), superblocks: [{ metadataVersion: '1.2', state: 'clean', role: 0 }] },
        { superblocks: [] },
      ],
    });
    const bytes = await readFile(member(0));
    bytes[4096 + 200] = (bytes[4096 + 200] ?? 0) ^ 0xff;
    const broken = join(folder, 'broken.img');
    await writeFile(broken, bytes);
    const damaged = await runJson(['examine', broken]);
    expect(damaged.exitCode).toBe(4);
    expect(damaged.json.result).toMatchObject({
      images: [{ superblocks: [], damaged: [{ version: '1.2' }] }],
    });
  });
});

it('a directory that holds no volume is said to hold none', async () => {
  const empty = join(folder, 'empty');
  await mkdir(empty, { recursive: true });
  const { exitCode, json } = await runJson(['read', empty, '--output', '-']);
  expect([1, 10]).toContain(exitCode);
  expect(json.error?.message).toContain('empty');
});
