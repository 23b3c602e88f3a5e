/**
 * `fsck --undo` and `--revert` as a user runs them: whatever was repaired and wherever it was cut off, the images are
 * byte for byte what they were; and nothing is put back that does not belong there.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { chosenSeed, SeededRandom } from '../support/devices/seeded-random.js';
import { compileFailingCalls } from '../support/failing-calls.js';
import { unpackArray } from '../support/md-fixtures.js';
import { type JsonResult, runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, makeVolume, notTested, type TestVolume } from '../support/volumes.js';
import { rot } from './support/images.js';

const folder = await temporaryFolder();
const failing = compileFailingCalls(folder);
/** A dirty array with a bitmap, whose parity is wrong: it is copied for each test. */
const fixture = unpackArray('dirty-bitmap');
afterAll(() => fixture.remove());

let count = 0;
let directory = '';
let undo = '';
let before: Map<string, string>;

beforeEach(async () => {
  directory = join(folder, `array-${count++}`);
  undo = join(folder, `undo-${count}`);
  await cp(fixture.directory, directory, { recursive: true });
  before = await contentOf(directory);
});

const repair = (env: Record<string, string> = {}): Promise<JsonResult> =>
  runJson(['fsck', '-p', '--undo', undo, directory], { env });
/** What the look after a revert ends with: the array is dirty again. */
const AS_BEFORE = 4;
const revert = (...flags: string[]): Promise<JsonResult> =>
  runJson(['fsck', '--revert', undo, directory, ...flags]);

describe('a repair', () => {
  it('is taken back byte for byte, and can be made again', async () => {
    const repaired = await repair();
    expect(repaired.exitCode).toBe(1);
    const { size: sizeBytes } = await stat(undo);
    expect(repaired.json.result?.undo).toMatchObject({ file: undo, sizeBytes, entries: expect.any(Number) });
    const after = await contentOf(directory);
    expect(after).not.toEqual(before);
    const reverted = await revert();
    expect(reverted.exitCode).toBe(AS_BEFORE);
    expect(reverted.json.result).toMatchObject({
      findings: [{ code: 'ARRAY_DIRTY', repaired: false, repair: { name: 'recover' } }],
      reverted: { isTorn: false },
    });
    expect(await contentOf(directory)).toEqual(before);
    // Once more does no harm.
    expect((await revert()).exitCode).toBe(AS_BEFORE);
    expect(await contentOf(directory)).toEqual(before);
    expect((await runJson(['fsck', '-p', directory])).exitCode).toBe(1);
  });

  it('is taken back, and people are told what the volume is then', async () => {
    expect((await repair()).exitCode).toBe(1);
    const { exitCode, stdout } = await runHoldfast(['fsck', '--revert', undo, directory]);
    expect(exitCode).toBe(AS_BEFORE);
    expect(stdout).toContain(`are put back from ${undo}`);
    expect(stdout).toMatch(/^ARRAY_DIRTY error: /m);
    expect(stdout).toContain('fsck -p repairs it');
  });

  it('that makes all well again ends with 0 when it is taken back from what is well', async () => {
    // Of a volume whose parity alone was wrong, which a look that reads no data does not see.
    const { images, remove } = unpackArray('bitrot-parity');
    const run = (...flags: string[]) => runJson(['fsck', ...flags, ...images]);
    expect((await run('-y', '--scrub', '--undo', undo)).exitCode).toBe(1);
    expect(await run('--revert', undo)).toMatchObject({ exitCode: 0, json: { result: { findings: [] } } });
    expect((await run('-n', '--scrub')).exitCode).toBe(4);
    remove();
  });

  it('is taken back where the images were moved', async () => {
    expect((await repair()).exitCode).toBe(1);
    await rename(directory, `${directory}-moved`);
    directory = `${directory}-moved`;
    expect((await revert()).exitCode).toBe(AS_BEFORE);
    const hashes = [...(await contentOf(directory)).values()];
    expect(hashes).toEqual([...before.values()]);
  });

  it('is taken back with the file beside the images, which is none of them', async () => {
    undo = join(directory, 'before.undo');
    expect((await repair()).exitCode).toBe(1);
    expect((await runJson(['fsck', '-n', '--scrub', directory])).exitCode).toBe(0);
    expect((await revert()).exitCode).toBe(AS_BEFORE);
    const after = await contentOf(directory);
    after.delete(undo);
    expect(after).toEqual(before);
  });

  it('that is not needed makes no file', async () => {
    expect((await runJson(['fsck', '-p', directory])).exitCode).toBe(1);
    const { exitCode, json } = await repair();
    expect(exitCode).toBe(0);
    expect(json.result?.undo).toBeNull();
    await expect(stat(undo)).rejects.toThrow('ENOENT');
  });

  it('never writes over a file that is there: 8, and nothing is repaired', async () => {
    await writeFile(undo, 'mine');
    const { exitCode, json } = await repair();
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 8, code: 'NOT_BLANK' });
    expect(json.error?.message).toContain(undo);
    expect(await readFile(undo, 'utf8')).toBe('mine');
    expect(await contentOf(directory)).toEqual(before);
  });
});

describe('a crash', () => {
  const killed = (name: string, body: (env: NonNullable<typeof failing>) => Promise<void>): void =>
    void it(name, async () => {
      if (failing === null) return notTested(name, 'there is no C compiler (cc)');
      await body(failing);
    });

  killed('at any write of a repair is taken back', async (env) => {
    // Another fifth of them in every run.
    let after = new SeededRandom(chosenSeed()).below(5);
    for (let isDone = false; !isDone; after += 5) {
      await refresh();
      const calls = { files: '.img', calls: 'w', after, signal: 'SIGKILL' } as const;
      const { exitCode } = await runHoldfast(['fsck', '-p', '--undo', undo, directory], { env: env(calls) });
      isDone = exitCode === 1;
      if (!isDone) expect(exitCode).toBe(137);
      expect((await revert()).exitCode, `killed at write ${after}`).toBe(AS_BEFORE);
      expect(await contentOf(directory), `killed at write ${after}`).toEqual(before);
    }
    expect(after).toBeGreaterThan(9);
  });

  killed('at any write of the undo file loses nothing', async (env) => {
    for (const after of [0, 1, 2, 3, 5]) {
      await refresh();
      const calls = { files: undo, calls: 'wf', after, signal: 'SIGKILL' } as const;
      const { exitCode } = await runHoldfast(['fsck', '-p', '--undo', undo, directory], { env: env(calls) });
      expect(exitCode).toBe(137);
      const { exitCode: code, json } = await revert();
      // Killed before the header was written: it is no undo file yet, and nothing was overwritten.
      if (code === 8) expect(json.error?.code).toBe('REFUSED');
      expect(await contentOf(directory), `killed at call ${after}`).toEqual(before);
    }
  });

  killed('at any write of a revert is ended by the next', async (env) => {
    for (const after of [0, 1, 2, 4, 8, 12]) {
      await refresh();
      expect((await repair()).exitCode).toBe(1);
      const calls = { files: '.img', calls: 'w', after, signal: 'SIGKILL' } as const;
      await runHoldfast(['fsck', '--revert', undo, directory], { env: env(calls) });
      expect((await revert()).exitCode, `killed at write ${after}`).toBe(AS_BEFORE);
      expect(await contentOf(directory)).toEqual(before);
    }
  });

  killed('has nothing overwritten that is not durable in the undo file', async (env) => {
    const log = join(folder, `log-${count}`);
    const { exitCode } = await runHoldfast(['fsck', '-p', '--undo', undo, directory], {
      env: env({ files: 'none', calls: '', after: 0, log }),
    });
    expect(exitCode).toBe(1);
    let isKept = false;
    let isDurable = false;
    let overwrites = 0;
    for (const line of (await readFile(log, 'utf8')).trim().split('\n')) {
      const [kind, offset, path = ''] = line.split(' ');
      // Behind the header, which lies at 0, come the entries.
      if (path === undo && kind === 'w' && offset !== '0') isKept = true;
      else if (path === undo && kind === 'f') isDurable = isKept;
      // While one group of entries becomes durable, images are overwritten whose entries are, and the next group is
      // written: so only the first overwrite shows it, and that one group was durable before it.
      else if (kind === 'w' && path.endsWith('.img') && overwrites++ === 0) expect(isDurable).toBe(true);
    }
    expect(overwrites).toBeGreaterThan(4);
  });

  async function refresh(): Promise<void> {
    directory = join(folder, `array-${count++}`);
    undo = join(folder, `undo-${count}`);
    await cp(fixture.directory, directory, { recursive: true });
    before = await contentOf(directory);
  }
});

describe('an undo file that cannot be written', () => {
  const mounted = join(folder, 'mounted');

  afterAll(() => {
    // Not mounted where nobody may mount.
    spawnSync('umount', [mounted]);
  });

  it('for want of space stops the repair (8) before anything is overwritten', async () => {
    await mkdir(mounted);
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'none', mounted]);
    if (mount.status !== 0) return notTested('a full disk', `cannot mount: ${String(mount.stderr)}`);
    undo = join(mounted, 'undo');
    const { exitCode, json } = await repair();
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 8, code: 'NO_SPACE' });
    expect(json.error?.message).toContain(undo);
    // What had been kept by then may have been overwritten, and nothing else.
    execFileSync('mount', ['-o', 'remount,size=4m', mounted]);
    expect((await revert()).exitCode).toBe(AS_BEFORE);
    expect(await contentOf(directory)).toEqual(before);
    expect((await runJson(['fsck', '-p', directory])).exitCode).toBe(1);
    expect((await runJson(['fsck', '-n', '--scrub', directory])).exitCode).toBe(0);
  });

  it('at all leaves the images alone', async () => {
    if (failing === null) return notTested('EIO of an undo file', 'there is no C compiler (cc)');
    const { exitCode, json } = await repair(failing({ files: undo, calls: 'w', after: 1 }));
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 8, code: 'IO_ERROR' });
    expect(json.error?.details.file).toBe(undo);
    // No member was taken for one that failed.
    expect(json.warnings.join()).not.toContain('taken out');
    expect(await contentOf(directory)).toEqual(before);
  });
});

describe('--revert is refused (8), and changes nothing,', () => {
  let other: TestVolume;

  beforeAll(async () => {
    other = await makeVolume(join(folder, 'other'), randomBytes(1024));
  });

  async function expectRefused(found: JsonResult, said: string): Promise<void> {
    expect(found.exitCode).toBe(8);
    expect(found.json.error).toMatchObject({ code: 'REFUSED' });
    expect(found.json.error?.message).toContain(said);
  }

  it('with the undo file of another volume', async () => {
    await rot(other.images[1]!, 4096 + 64);
    const made = await runJson(['fsck', '-p', '--undo', undo, other.directory]);
    expect(made.exitCode).toBe(1);
    await expectRefused(await revert(), 'undo file of another volume');
    await expectRefused(await revert('--force'), 'undo file of another volume');
    expect(await contentOf(directory)).toEqual(before);
  });

  it('with what is no undo file', async () => {
    await writeFile(undo, randomBytes(4096));
    await expectRefused(await revert(), 'it is no undo file');
    expect(await contentOf(directory)).toEqual(before);
  });

  it('when something else has written since, but with --force', async () => {
    expect((await repair()).exitCode).toBe(1);
    expect((await runHoldfast(['write', directory], { input: 'x' })).exitCode).toBe(0);
    const changed = await contentOf(directory);
    await expectRefused(await revert(), 'was changed since the repair by something else');
    expect(await contentOf(directory)).toEqual(changed);
    expect((await revert('--force')).exitCode).toBe(AS_BEFORE);
    expect(await contentOf(directory)).not.toEqual(changed);
  });

  it('when an image is not there', async () => {
    expect((await repair()).exitCode).toBe(1);
    await rename(join(directory, 'member-b.img'), join(folder, `away-${count}`));
    const left = await contentOf(directory);
    await expectRefused(await revert(), 'is not among the images');
    expect(await contentOf(directory)).toEqual(left);
  });

  it('when the file has rotted', async () => {
    expect((await repair()).exitCode).toBe(1);
    const repaired = await contentOf(directory);
    await rot(undo, 600);
    await expectRefused(await revert(), 'is damaged at byte');
    expect(await contentOf(directory)).toEqual(repaired);
  });
});

it('a torn undo file is put back as far as it goes, and that is said', async () => {
  expect((await repair()).exitCode).toBe(1);
  // Something that a crash has left behind what was durable.
  await writeFile(undo, randomBytes(700), { flag: 'a' });
  const { exitCode, json } = await revert();
  expect(exitCode).toBe(AS_BEFORE);
  expect(json.result).toMatchObject({ reverted: { isTorn: true } });
  expect(json.warnings.join()).toContain('ends amid an entry');
  expect(await contentOf(directory)).toEqual(before);
});
