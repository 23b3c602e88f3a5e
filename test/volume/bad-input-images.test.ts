/**
 * Images that are not what they should be, through the built binary: damaged, cut short, mixed up, copied.
 * Nothing that only looks writes, nothing guesses, and what is left is read whole.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  copyFile,
  link,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, copyVolume, makeVolume, readAll, statusOf, type TestVolume } from '../support/volumes.js';

const folder = await temporaryFolder();
const content = randomBytes(1024 ** 2);
let count = 0;
let original: TestVolume;
let volume: TestVolume;

beforeAll(async () => {
  original = await makeVolume(join(folder, 'original'), content);
});

beforeEach(async () => {
  volume = await copyVolume(original, join(folder, `volume-${count++}`));
});

async function writeAt(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, offset);
  await file.close();
}

/** Reads the volume and holds the read to having written nothing. */
async function look(...args: string[]): Promise<Buffer> {
  const before = await contentOf(volume.directory);
  const bytes = await readAll(...args);
  expect(await contentOf(volume.directory)).toEqual(before);
  return bytes;
}

const DAMAGE: [string, string, string | RegExp, (image: string) => Promise<void>][] = [
  ['cut short', 'faulty', /ends at \d+: was it truncated\?/, (image) => truncate(image, 1_400_000)],
  ['cut short amid its superblock', 'foreign', 'no md superblock', (image) => truncate(image, 4100)],
  ['cut short to nothing', 'foreign', 'no md superblock', (image) => truncate(image, 0)],
  [
    'with a superblock of zeroes',
    'foreign',
    'no md superblock',
    (image) => writeAt(image, 4096, new Uint8Array(4096)),
  ],
  [
    'with a superblock whose checksum is wrong',
    'faulty',
    /superblock 1\.2 at byte 4096 cannot be used: checksum is [0-9a-f]+, its content has/,
    (image) => writeAt(image, 4096 + 33, Buffer.from('x')),
  ],
];

describe.each(DAMAGE)('a member that is %s', (_name, state, reason, damage) => {
  it('is left out and named; the content is whole, and nothing is written', async () => {
    const image = volume.images[1]!;
    await damage(image);
    expect((await look(volume.directory)).equals(content)).toBe(true);
    const status = await statusOf(volume.directory);
    expect(status).toMatchObject({ exitCode: 3, state: 'degraded' });
    const member = status.members.find((each) => each.image === image);
    expect(member).toMatchObject({ state, reason: expect.stringMatching(reason) });
    expect(status.problems.map((problem) => problem.code)).toContain('DEGRADED');
  });
});

it('a volume with a damaged member is written, and the member rebuilt', async () => {
  const image = volume.images[1]!;
  await truncate(image, 1_400_000);
  const looked = await contentOf(volume.directory);
  expect((await runJson(['examine', ...volume.images])).exitCode).toBe(4);
  expect(await runJson(['scrub', volume.directory])).toMatchObject({
    exitCode: 3,
    json: { result: { checkedStripes: 0, degradedSlots: [expect.any(Number)] } },
  });
  expect(await contentOf(volume.directory)).toEqual(looked);
  const at = ['--offset', '4097'];
  const written = await runJson(['write', volume.directory, ...at, '--input', '-'], { input: 'new' });
  expect(written.exitCode).toBe(0);
  expect(written.json.warnings.join()).toContain(`${image} is faulty and left out`);
  expect(written.json.warnings.join()).toMatch(/degraded.*slot 1/);
  const expected = Buffer.from(content);
  expected.write('new', 4097);
  expect((await readAll(volume.directory)).equals(expected)).toBe(true);
  const added = await runJson(['member', 'add', volume.directory, '--image', `${volume.directory}-new`]);
  expect(added.exitCode).toBe(0);
  expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
  expect((await readAll(volume.directory)).equals(expected)).toBe(true);
});

describe('two members that are damaged', () => {
  it('make it failed: 4 for who looks, 1 for who reads, and nothing is written', async () => {
    await truncate(volume.images[0]!, 4096);
    await writeAt(volume.images[2]!, 4096 + 33, Buffer.from('x'));
    const before = await contentOf(volume.directory);
    const status = await statusOf(volume.directory);
    expect(status).toMatchObject({ exitCode: 4, state: 'failed' });
    expect(status.problems[0]).toMatchObject({ code: 'TWO_MEMBERS_MISSING' });
    expect(status.problems[0]?.message).toMatch(/slot 0: .*; slot 2: /);
    for (const [command, exitCode] of [
      ['read', 1],
      ['write', 1],
      ['scrub', 4],
    ] as const) {
      const found = await runJson([command, volume.directory]);
      expect(found, command).toMatchObject({ exitCode, json: { error: { code: 'NOT_ASSEMBLED' } } });
      expect(found.json.error?.hint).toMatch(/examine/);
    }
    expect(await contentOf(volume.directory)).toEqual(before);
  });
});

describe('images of two arrays', () => {
  let other: TestVolume;

  beforeAll(async () => {
    other = await makeVolume(join(folder, 'other'), randomBytes(1024));
  });

  it('given together are refused, and named by the array they are of', async () => {
    const images = [volume.images[0]!, volume.images[1]!, other.images[2]!];
    const before = await contentOf(...images);
    expect(await statusOf(...images)).toMatchObject({ exitCode: 4, state: 'failed' });
    const read = await runJson(['read', ...images]);
    expect(read).toMatchObject({ exitCode: 1, json: { error: { details: { reason: 'MIXED_ARRAYS' } } } });
    for (const image of images) expect(read.json.error?.message).toContain(image);
    expect((await runJson(['write', ...images], { input: 'x' })).json.error?.code).toBe('NOT_ASSEMBLED');
    expect(await contentOf(...images)).toEqual(before);
  });

  it('in the directory of one of them do not disturb it', async () => {
    const stray = join(volume.directory, 'a-stray.img');
    await copyFile(other.images[1]!, stray);
    const before = await contentOf(stray);
    expect((await readAll(volume.directory)).equals(content)).toBe(true);
    expect((await runJson(['write', volume.directory], { input: 'x' })).exitCode).toBe(0);
    const { state, members } = await statusOf(volume.directory);
    expect(state).toBe('clean');
    expect(members.find(({ image }) => image === stray)).toMatchObject({ state: 'foreign', slot: null });
    expect(await contentOf(stray)).toEqual(before);
  });
});

describe('one image twice', () => {
  it('by its name, by another path, by links: is wrong usage', async () => {
    const [first, second] = volume.images as [string, string];
    const hard = join(folder, `hard-${count}`);
    const soft = join(folder, `soft-${count}`);
    await link(first, hard);
    await symlink(first, soft);
    const twisted = join(volume.directory, '..', basename(volume.directory), basename(first));
    for (const again of [twisted, hard, soft]) {
      const { exitCode, json } = await runJson(['read', first, second, again]);
      expect(exitCode, again).toBe(2);
      expect(json.error?.message).toContain('the same file');
    }
  });

  it('by links in the directory is one image', async () => {
    await link(volume.images[0]!, join(volume.directory, '0-hard.img'));
    await symlink(volume.images[1]!, join(volume.directory, '1-soft.img'));
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 0, state: 'clean' });
    await rm(join(volume.directory, 'holdfast.json'));
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 0, state: 'clean' });
    expect((await look(volume.directory)).equals(content)).toBe(true);
  });
});

describe('a copy of a member beside it', () => {
  it('that is as fresh is refused: which of them was used last cannot be known', async () => {
    const copy = join(volume.directory, 'copy.img');
    await copyFile(volume.images[1]!, copy);
    const before = await contentOf(volume.directory);
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 4, state: 'failed' });
    for (const command of ['read', 'write']) {
      const { exitCode, json } = await runJson([command, volume.directory]);
      expect(exitCode, command).toBe(1);
      expect(json.error).toMatchObject({ details: { reason: 'DUPLICATE_MEMBER' } });
      expect(json.error?.message).toContain(copy);
      expect(json.error?.message).toContain(volume.images[1]);
    }
    expect(await contentOf(volume.directory)).toEqual(before);
  });

  it('that is older is left out', async () => {
    const copy = join(volume.directory, 'copy.img');
    const away = join(folder, 'away.img');
    await copyFile(volume.images[1]!, away);
    expect((await runJson(['write', volume.directory], { input: content })).exitCode).toBe(0);
    await rename(away, copy);
    const { state, members } = await statusOf(volume.directory);
    expect(state).toBe('clean');
    expect(members.find(({ image }) => image === copy)).toMatchObject({ state: 'stale', slot: 1 });
    expect((await look(volume.directory)).equals(content)).toBe(true);
  });
});

describe('a directory with files of other kinds', () => {
  async function litter(directory: string): Promise<void> {
    await mkdir(join(directory, 'folder'));
    await writeFile(join(directory, 'readme.txt'), 'hi\n');
    await writeFile(join(directory, 'empty'), '');
    await writeFile(join(directory, '.hidden'), 'hidden');
    await symlink('nowhere', join(directory, 'dangling'));
    await symlink('loop', join(directory, 'loop'));
    await symlink('folder', join(directory, 'link-to-folder'));
    execFileSync('mkfifo', [join(directory, 'fifo')]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(directory, 'socket'), resolve));
    server.close();
    // Closing takes the socket's name away; a file of that kind stays with a process that was killed.
    execFileSync('mknod', [join(directory, 'pipe'), 'p']);
  }

  it('and no volume: 10, and they stay as they are', async () => {
    const directory = join(folder, `litter-${count}`);
    await mkdir(directory);
    await litter(directory);
    const before = await contentOf(directory);
    for (const command of ['status', 'write', 'member add']) {
      const { exitCode, json } = await runJson([...command.split(' '), directory]);
      expect(exitCode, command).toBe(10);
      expect(json.error).toMatchObject({ code: 'VOLUME_NOT_FOUND', details: { directory } });
      expect(json.error?.hint).not.toBe('');
    }
    expect(await contentOf(directory)).toEqual(before);
  });

  it('and a volume without a manifest: the volume', async () => {
    await litter(volume.directory);
    await rm(join(volume.directory, 'holdfast.json'));
    expect((await runJson(['write', volume.directory], { input: content })).exitCode).toBe(0);
    expect((await look(volume.directory)).equals(content)).toBe(true);
    expect(await readFile(join(volume.directory, 'readme.txt'), 'utf8')).toBe('hi\n');
  });
});

it('a volume is read from its members in any order, and from where its directory was moved to', async () => {
  const [a, b, c] = volume.images as [string, string, string];
  for (const order of [
    [c, a, b],
    [c, b],
  ]) {
    expect((await look(...order)).equals(content), order.join()).toBe(true);
  }
  const moved = join(folder, `moved-${count}`);
  await rename(volume.directory, moved);
  expect((await runHoldfast(['write', moved], { input: content })).exitCode).toBe(0);
  expect(await statusOf(moved)).toMatchObject({ exitCode: 0, state: 'clean' });
});
