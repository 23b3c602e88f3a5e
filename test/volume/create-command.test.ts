/** `holdfast create`, beside what test/cli says of it: where images lie, what is refused, sizes at both ends. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runHoldfast, runJson, runOnTerminal } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, readAll, SHAPE, statusOf } from '../support/volumes.js';

const folder = await temporaryFolder();
let count = 0;
const place = (): string => join(folder, `place-${count++}`);

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

describe('over data', () => {
  it('wants --force, and then a yes, and until then touches nothing', async () => {
    const directory = place();
    const images = [0, 1, 2].map((slot) => `${directory}-${slot}.img`);
    await writeFile(
      images[1]!,
      Buffer.concat([Buffer.alloc(1024 ** 2 + 7), Buffer.from('precious'), Buffer.alloc(1024 ** 2)]),
    );
    const before = await contentOf(images[1]!);
    const create = ['create', directory, ...SHAPE, ...images.flatMap((image) => ['--image', image])];
    const refused = await runJson(create);
    expect(refused).toMatchObject({
      exitCode: 1,
      json: { error: { code: 'NOT_BLANK', details: { image: images[1], offsetBytes: 1024 ** 2 + 7 } } },
    });
    expect(refused.json.error?.hint).toContain('--force --yes');
    const forced = await runJson([...create, '--force']);
    expect(forced).toMatchObject({ exitCode: 2, json: { error: { code: 'CONFIRMATION_REQUIRED' } } });
    const dry = await runJson([...create, '--force', '--dry-run']);
    expect(dry).toMatchObject({ exitCode: 0, json: { result: { dryRun: true, overwrites: [{}] } } });
    expect(await contentOf(images[1]!)).toEqual(before);
    for (const path of [directory, images[0]!, images[2]!]) expect(await isThere(path)).toBe(false);
    expect((await runJson([...create, '--force', '--yes'])).exitCode).toBe(0);
    expect((await readAll(directory)).equals(Buffer.alloc(1024 ** 2))).toBe(true);
  });

  it('asks too where only a volume of other images would be lost', async () => {
    const directory = place();
    expect((await runJson(['create', directory, '--members', '1', '--size', '1MiB'])).exitCode).toBe(0);
    const before = await contentOf(directory);
    const forced = await runJson(['create', directory, ...SHAPE, '--force']);
    expect(forced).toMatchObject({ exitCode: 2, json: { error: { code: 'CONFIRMATION_REQUIRED' } } });
    expect(await contentOf(directory)).toEqual(before);
  });

  it('of a terminal: no is the answer that Enter gives', async () => {
    const directory = place();
    await mkdir(directory);
    await writeFile(join(directory, 'disk.img'), 'precious'.repeat(64 * 2048));
    const create = ['create', directory, '--members', '1', '--size', '1MiB', '--force'];
    const asked = await runOnTerminal(create, { awaited: 'What they hold is lost', answers: '\r' });
    expect(asked.exitCode).toBe(2);
    expect(await readFile(join(directory, 'disk.img'), 'utf8')).toMatch(/^precious/);
    const interrupted = await runOnTerminal(create, { awaited: 'What they hold is lost', answers: '\u0003' });
    expect(interrupted.exitCode).toBe(130);
    expect(await readFile(join(directory, 'disk.img'), 'utf8')).toMatch(/^precious/);
    const agreed = await runOnTerminal(create, { awaited: 'What they hold is lost', answers: 'y\r' });
    expect(agreed.exitCode, agreed.stdout).toBe(0);
    expect((await readAll(directory)).equals(Buffer.alloc(1024 ** 2))).toBe(true);
  });
});

describe('without flags', () => {
  it('on a terminal asks for all, again where an answer is none, and takes the standard for Enter', async () => {
    const directory = place();
    const { exitCode, stdout } = await runOnTerminal(['create', directory], {
      talk: [
        ['How many images?', '\r'],
        ['Usable size?', '1.5M\r'],
        ['is not a size', '\u0015' + '2MiB\r'],
        ['Chunk?', '\r'],
        ['Layout?', '\r'],
      ],
    });
    expect(exitCode, stdout).toBe(0);
    const { json } = await runJson(['status', directory]);
    expect(json.result).toMatchObject({
      raid: { raidDisks: 4, chunkBytes: 65536, layout: 'left-symmetric' },
    });
    expect(json.result?.sizeBytes).toBeLessThan(3 * 1024 ** 2);
  });

  it('on a terminal is interrupted by Ctrl-C at a question, and nothing is made', async () => {
    const directory = place();
    const { exitCode } = await runOnTerminal(['create', directory], {
      talk: [
        ['How many images?', '1\r'],
        ['Usable size?', '\u0003'],
      ],
    });
    expect(exitCode).toBe(130);
    expect(await isThere(directory)).toBe(false);
  });

  it('off a terminal is wrong usage, and nothing is made', async () => {
    const directory = place();
    const { exitCode, json } = await runJson(['create', directory]);
    expect(exitCode).toBe(2);
    expect(json.error).toMatchObject({ code: 'USAGE', message: 'missing: --size' });
    expect(await isThere(directory)).toBe(false);
  });
});

it.each([
  [['', '--size', '1M'], 2, 'USAGE', 'empty name'],
  [['--size', '1M'], 2, 'USAGE', 'missing: VOLUME'],
  [['NBD+unix:///?socket=/s', '--size', '1M'], 1, 'UNSUPPORTED', 'NBD'],
  [['v', '--size', '1M', '--name', ''], 2, 'USAGE', '--name has 0 bytes'],
  [['v', '--size', '1M', '--name', 'ü'.repeat(16)], 2, 'USAGE', '--name has 32 bytes'],
  [['v', '--size', '1M', '--image', 'a', '--image', './a', '--image', 'b'], 2, 'USAGE', 'named twice'],
  [['v', '--size', '1M', '--extent', '1M'], 2, 'USAGE', '--extent is for volumes of files'],
  [['v', '--size', '1M', '--metadata', 'm'], 2, 'USAGE', '--metadata is for volumes of files'],
  [['v', '--size', '1M', '--layout', 'left'], 2, 'USAGE', 'left-symmetric'],
  [['v', '--size', '0'], 2, 'USAGE', 'at least 512'],
])('create %j: exit %i, %s', async (args, expected, code, message) => {
  const cwd = place();
  await mkdir(cwd);
  const { exitCode, json } = await runJson(['create', ...args], { cwd });
  expect(exitCode).toBe(expected);
  expect(json.error).toMatchObject({ code, message: expect.stringContaining(message) });
  expect(await readdir(cwd)).toEqual([]);
});

describe('a volume of one image', () => {
  it('is written, read, judged; cut short or gone it is said to be', async () => {
    const directory = place();
    const image = join(directory, 'disk.img');
    const content = randomBytes(100_001);
    const made = await runJson(['create', directory, '--members', '1', '--size', '1MiB']);
    expect(made).toMatchObject({ exitCode: 0, json: { result: { kind: 'single', images: [image] } } });
    const write = await runJson(['write', directory, '--offset', '777'], { input: content });
    expect(write).toMatchObject({ exitCode: 0, json: { result: { writtenBytes: content.length } } });
    expect((await readAll(directory)).subarray(777, 777 + content.length).equals(content)).toBe(true);
    expect(await statusOf(directory)).toMatchObject({ exitCode: 0, state: 'clean', sizeBytes: 1024 ** 2 });
    await truncate(image, 4096);
    const status = await statusOf(directory);
    expect(status).toMatchObject({ exitCode: 4, state: 'failed' });
    expect(status.problems[0]?.message).toContain(`${image} was cut short: it ends at offset 4096`);
    for (const command of ['read', 'write']) {
      const { exitCode, json } = await runJson([command, directory]);
      expect(exitCode).toBe(1);
      expect(json.error).toMatchObject({ code: 'DATA_UNAVAILABLE', details: { image, offsetBytes: 4096 } });
    }
    expect((await readAll(image)).length).toBe(4096);
    await rm(image);
    for (const command of ['status', 'read', 'write']) {
      const { exitCode, json } = await runJson([command, directory]);
      expect(exitCode).toBe(10);
      expect(json.error).toMatchObject({ code: 'VOLUME_NOT_FOUND', details: { image } });
    }
  });
});

describe('a manifest that is not one', () => {
  it.each([
    '',
    '{',
    'null',
    '{"formatVersion":2}',
    '{"formatVersion":1,"name":"x","kind":"single","format":"raw","uuid":"u","images":["a","b"]}',
    '\u0000\u0001\u007f',
  ])('%j is refused, and stays', async (text) => {
    const directory = place();
    await mkdir(directory);
    const manifest = join(directory, 'holdfast.json');
    await writeFile(manifest, text);
    const { exitCode, json } = await runJson(['write', directory], { input: 'x' });
    expect(exitCode).toBe(1);
    expect(json.error).toMatchObject({ code: 'REFUSED', details: { file: manifest } });
    expect(json.error?.hint).toContain('as arguments');
    expect(await readFile(manifest, 'utf8')).toBe(text);
  });
});

it('a volume of 1 TiB is made, written at its end, read and closed, and takes next to no room', async () => {
  const directory = place();
  const tail = randomBytes(1024 ** 2);
  const made = await runJson(['create', directory, '--members', '5', '--size', '1TiB', '--chunk', '512KiB']);
  expect(made.exitCode).toBe(0);
  const { sizeBytes } = await statusOf(directory);
  expect(sizeBytes).toBeGreaterThanOrEqual(1024 ** 4);
  const at = ['--offset', String(sizeBytes - tail.length)];
  expect((await runJson(['write', directory, ...at], { input: tail })).exitCode).toBe(0);
  const { stdoutBytes } = await runHoldfast(['read', directory, ...at, '--output', '-']);
  expect(stdoutBytes.equals(tail)).toBe(true);
  expect(await statusOf(directory)).toMatchObject({ exitCode: 0, state: 'clean' });
  let allocated = 0;
  for (const name of await readdir(directory)) allocated += (await stat(join(directory, name))).blocks * 512;
  expect(allocated).toBeLessThan(16 * 1024 ** 2);
  await rename(directory, `${directory}-moved`);
  expect((await runHoldfast(['read', `${directory}-moved`, ...at])).stdoutBytes.equals(tail)).toBe(true);
});
