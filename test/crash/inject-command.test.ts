/** `holdfast crash inject` as a user runs it, and what status, recover, scrub and read say of what it leaves. */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { PROFILE_NAMES } from '../../src/crash/profiles.js';
import { type JsonResult, runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, copyVolume, makeVolume, readAll, statusOf, type TestVolume } from '../support/volumes.js';

const VOLUME_BYTES = 1024 * 1024;
/** Not from the beginning of a stripe to the end of one. */
const OFFSET = 4096 * 3 + 512;

const folder = await temporaryFolder();
const before = randomBytes(VOLUME_BYTES);
const written = randomBytes(200_704);
const input = join(folder, 'input');
let raid: TestVolume;
let single: TestVolume;
let copies = 0;

beforeAll(async () => {
  await writeFile(input, written);
  raid = await makeVolume(join(folder, 'raid'), before);
  single = await makeVolume(join(folder, 'single'), before, ['--members', '1', '--size', '1MiB']);
});

const copyOf = (volume: TestVolume): Promise<TestVolume> =>
  copyVolume(volume, join(folder, `copy-${copies++}`));

const writing = (volume: TestVolume): string[] => [
  'write',
  volume.directory,
  '--input',
  input,
  '--offset',
  String(OFFSET),
];

/** `--json` goes before the inner command. */
async function injectJson(flags: readonly string[], inner: readonly string[]): Promise<JsonResult> {
  const result = await runHoldfast(['crash', 'inject', '--json', ...flags, '--', ...inner]);
  expect(result.stdout).toMatch(/^\{.*\}\n$/);
  return { ...result, json: JSON.parse(result.stdout) };
}

/** What of a member is data and parity: superblocks have the time, and a stamp of their opening. */
async function dataOf(volume: TestVolume): Promise<string[]> {
  const { json } = await runJson(['status', volume.directory]);
  const { dataOffsetBytes } = json.result!.raid as { dataOffsetBytes: number };
  const images = await Promise.all(volume.images.map((image) => readFile(image)));
  return images.map((bytes) => createHash('sha256').update(bytes.subarray(dataOffsetBytes)).digest('hex'));
}

/** Every sector is as it was before, or as it was written, and outside of what was written as before. */
function expectOldOrNew(content: Buffer): void {
  const after = Buffer.from(before);
  after.set(written, OFFSET);
  for (let at = 0; at < VOLUME_BYTES; at += 512) {
    const found = content.subarray(at, at + 512);
    const isKnown = [before, after].some((version) => found.equals(version.subarray(at, at + 512)));
    if (!isKnown) expect.fail(`the sector at ${at} holds neither what was there nor what was written`);
  }
}

async function expectRecovers(volume: TestVolume): Promise<void> {
  expectOldOrNew(await readAll(volume.directory));
  const recovered = await runHoldfast(['recover', volume.directory]);
  expect(recovered.exitCode, recovered.stderr).toBe(0);
  expect((await statusOf(volume.directory)).state).toBe('clean');
  expect((await runHoldfast(['scrub', volume.directory])).exitCode).toBe(0);
  expectOldOrNew(await readAll(volume.directory));
}

/** Writes and flushes of the whole command. */
async function countsOf(volume: TestVolume): Promise<{ writes: number; flushes: number }> {
  const { json } = await injectJson(['--at-write', '1000000'], writing(await copyOf(volume)));
  return json.error!.details as { writes: number; flushes: number };
}

describe('crash inject', () => {
  it('--at-write cuts at that write; the volume is dirty, reads, and recovers', async () => {
    const { writes } = await countsOf(raid);
    const number = Math.ceil(writes / 2);
    const volume = await copyOf(raid);
    const { exitCode, stdout, stderr } = await runHoldfast([
      'crash',
      'inject',
      ...['--at-write', String(number), '--seed', '3'],
      '--',
      ...writing(volume),
    ]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 75, stderr: '' });
    expect(stdout).toContain('the power was cut');
    expect(stdout).toContain(`writes ${number}`);
    expect(stdout).toContain(
      `holdfast crash inject --at-write ${number} --seed 3 --profile sector-512 -- write ${volume.directory} --input`,
    );
    expect(stdout).not.toContain('wrote');
    const status = await statusOf(volume.directory);
    expect(status).toMatchObject({ exitCode: 3, state: 'dirty', holder: null });
    await expectRecovers(volume);
  });

  it('--at-flush cuts at that flush, and --json tells all in one object', async () => {
    const volume = await copyOf(raid);
    const { flushes } = await countsOf(raid);
    const { exitCode, json, stderr } = await injectJson(['--at-flush', String(flushes - 1)], writing(volume));
    expect({ exitCode, stderr }).toEqual({ exitCode: 75, stderr: '' });
    expect(json).toMatchObject({ formatVersion: 1, command: 'crash inject', exitCode: 75, warnings: [] });
    const { result } = json;
    expect(result).toMatchObject({ flushes: flushes - 1, profile: 'sector-512' });
    for (const field of ['cutAtEvent', 'writes', 'seed', 'volatileWrites', 'keptWrites']) {
      expect(result?.[field], field).toEqual(expect.any(Number));
    }
    const images = result?.images as { image: string }[];
    expect(images.map(({ image }) => image).sort()).toEqual([...volume.images].sort());
    await expectRecovers(volume);
  });

  it('cuts anywhere by seed, and what is left always recovers', async () => {
    for (const seed of [1, 2]) {
      const volume = await copyOf(raid);
      const { exitCode } = await injectJson(['--seed', String(seed)], writing(volume));
      expect(exitCode).toBe(75);
      await expectRecovers(volume);
    }
  });

  it('does the same again for the same seed', async () => {
    const runs = [];
    for (let run = 0; run < 2; run++) {
      const volumes = { raid: await copyOf(raid), single: await copyOf(single) };
      const cuts = [];
      for (const seed of [5, 6]) {
        for (const volume of Object.values(volumes)) {
          const { json } = await injectJson(['--seed', String(seed)], writing(volume));
          const { cutAtEvent, volatileWrites, keptWrites, kind } = json.result!;
          cuts.push({ cutAtEvent, volatileWrites, keptWrites, kind });
        }
      }
      const [image] = volumes.single.images;
      runs.push({ cuts, data: await dataOf(volumes.raid), image: await readFile(image!, 'hex') });
    }
    expect(runs[1]).toEqual(runs[0]);
  });

  it('tells a seed that it chose itself', async () => {
    const volume = await copyOf(single);
    const first = await injectJson([], writing(volume));
    const again = await copyOf(single);
    const seed = String(first.json.result?.seed);
    const second = await injectJson(['--seed', seed], writing(again));
    expect(second.json.result?.cutAtEvent).toBe(first.json.result?.cutAtEvent);
    expect(await readFile(again.images[0]!, 'hex')).toBe(await readFile(volume.images[0]!, 'hex'));
  });

  it('cuts other commands too: a recovery that was cut is done again', async () => {
    const volume = await copyOf(raid);
    const { writes } = await countsOf(raid);
    await injectJson(['--at-write', String(Math.ceil(writes / 2))], writing(volume));
    expect((await statusOf(volume.directory)).state).toBe('dirty');
    const { exitCode } = await injectJson(['--at-flush', '1'], ['recover', volume.directory]);
    expect(exitCode).toBe(75);
    await expectRecovers(volume);
  });

  it.each(PROFILE_NAMES)('knows the profile %s', async (profile) => {
    const flags = ['--profile', profile, '--seed', '2', '--at-flush', '1'];
    const { exitCode, json } = await injectJson(flags, writing(await copyOf(single)));
    expect(exitCode).toBe(75);
    expect(json.result?.profile).toBe(profile);
  });
});

describe('crash inject without a cut', () => {
  it('of an event that never comes lets the command do its work, and exits with 1', async () => {
    const volume = await copyOf(raid);
    const { exitCode, stdout, stderr } = await runHoldfast([
      ...['crash', 'inject', '--at-flush', '1000', '--'],
      ...writing(volume),
    ]);
    expect(exitCode).toBe(1);
    expect(stdout).toContain('wrote');
    expect(stderr).toMatch(/the power was not cut: .*writes \d+, flushes \d+.*there was no flush 1000/);
    const wanted = Buffer.from(before);
    wanted.set(written, OFFSET);
    expect((await readAll(volume.directory)).equals(wanted)).toBe(true);
    expect((await statusOf(volume.directory)).state).toBe('clean');
  });

  it('of a command that writes nothing says so', async () => {
    const { exitCode, json } = await injectJson([], ['status', raid.directory]);
    expect(exitCode).toBe(1);
    expect(json.error?.message).toContain('it wrote nothing');
    expect(json.error?.details).toMatchObject({ writes: 0, flushes: 0, result: { state: 'clean' } });
  });

  it("tells the command's own failure, with its exit code", async () => {
    const missing = join(folder, 'missing');
    const cases: [string[], number, string][] = [
      [['write', missing, '--input', input], 10, 'VOLUME_NOT_FOUND'],
      [['write', raid.directory, '--no-such-flag'], 2, 'USAGE'],
      [['write', raid.directory, '--input', input, '--offset', '1MiB'], 1, 'OUT_OF_RANGE'],
      [['no-such-command'], 2, 'USAGE'],
      [['crash', 'inject', '--', 'write', raid.directory], 2, 'USAGE'],
      [['help'], 2, 'USAGE'],
    ];
    const content = await contentOf(raid.directory);
    for (const [inner, exitCode, code] of cases) {
      const inject = await injectJson([], inner);
      expect([inject.exitCode, inject.json.exitCode, inject.json.error?.code], inner.join(' ')).toEqual([
        exitCode,
        exitCode,
        code,
      ]);
    }
    expect(await contentOf(raid.directory)).toEqual(content);
  });

  it('refuses wrong usage of its own', async () => {
    const inner = ['--', ...writing(raid)];
    const wrong = [
      ['--at-write', '0', ...inner],
      ['--at-flush', 'two', ...inner],
      ['--at-write', '1', '--at-flush', '1', ...inner],
      ['--seed', '-1', ...inner],
      ['--seed', '4294967296', ...inner],
      ['--profile', 'no-such-profile', ...inner],
      ['--at-write', '1'],
    ];
    for (const words of wrong) {
      const { exitCode, json } = await runJsonBefore(words);
      expect([exitCode, json.error?.code], words.join(' ')).toEqual([2, 'USAGE']);
    }
    const { stderr } = await runHoldfast(['crash', 'inject', '--profile', 'kill9', ...inner]);
    expect(stderr).toContain('kill-9');
  });

  const runJsonBefore = async (words: readonly string[]): Promise<JsonResult> => {
    const at = words.indexOf('--');
    if (at === -1) return runJson(['crash', 'inject', ...words]);
    return injectJson(words.slice(0, at), words.slice(at + 1));
  };
});

it('crash inject --help says how it counts, what the profiles are and what exit codes there are', async () => {
  const { exitCode, stdout } = await runHoldfast(['crash', 'inject', '--help']);
  expect(exitCode).toBe(0);
  for (const section of ['USAGE', 'FLAGS', 'EXAMPLES', 'EXIT CODES']) expect(stdout).toContain(section);
  for (const name of PROFILE_NAMES) expect(stdout).toContain(`${name}:`);
  expect(stdout).toMatch(/^ +75 +/m);
});
