/** `holdfast read` and `holdfast write`: ranges to the byte, streams, raw images, and NBD, which is not there yet. */
import { spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { copyFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, copyVolume, makeVolume, readAll, statusOf, type TestVolume } from '../support/volumes.js';

const folder = await temporaryFolder();
const SIZE = 1024 ** 2;
const content = randomBytes(SIZE);
let original: TestVolume;
let volume: TestVolume;
let count = 0;

beforeAll(async () => {
  original = await makeVolume(join(folder, 'original'), content);
});

beforeEach(async () => {
  volume = await copyVolume(original, join(folder, `volume-${count++}`));
});

describe('to the byte', () => {
  const inside = randomInt(4096, 500_000);
  it.each([
    [0, 1],
    [4095, 8193],
    [SIZE - 1, 1],
    [inside, randomInt(1, 300_000)],
  ])('at %i, %i bytes', async (offset, length) => {
    const input = randomBytes(length);
    const write = await runJson(['write', volume.directory, '--offset', String(offset)], { input });
    expect(write).toMatchObject({ exitCode: 0, json: { result: { writtenBytes: length } } });
    const expected = Buffer.from(content);
    input.copy(expected, offset);
    expect((await readAll(volume.directory)).equals(expected)).toBe(true);
  });

  it('nothing is written and nothing read where there is nothing to', async () => {
    const before = await contentOf(volume.directory);
    const write = await runJson(['write', volume.directory], { input: '' });
    expect(write).toMatchObject({ exitCode: 0, json: { result: { writtenBytes: 0 } } });
    const atEnd = await runHoldfast(['read', volume.directory, '--offset', '1MiB', '--output', '-']);
    expect(atEnd).toMatchObject({ exitCode: 0, stdout: '' });
    const none = join(folder, `none-${count}`);
    const read = await runJson(['read', volume.directory, '--length', '0', '--output', none]);
    expect(read).toMatchObject({ exitCode: 0, json: { result: { readBytes: 0 } } });
    expect((await stat(none)).size).toBe(0);
    expect(await contentOf(volume.directory)).toEqual(before);
  });
});

describe('beyond the end', () => {
  it.each([
    [['read', '--offset', String(SIZE + 1)]],
    [['read', '--offset', String(SIZE - 1), '--length', '2']],
    [['write', '--offset', String(SIZE + 1)]],
    [['write', '--offset', String(SIZE)]],
  ])('%j', async (args) => {
    const before = await contentOf(volume.directory);
    const { exitCode, json } = await runJson([...args, volume.directory], { input: 'x' });
    expect(exitCode).toBe(1);
    expect(json.error).toMatchObject({ code: 'OUT_OF_RANGE', details: { sizeBytes: SIZE } });
    expect(json.error?.message).toContain(`has ${SIZE} bytes`);
    expect(await contentOf(volume.directory)).toEqual(before);
  });

  it('a stream of unknown length is written as far as it was told', async () => {
    const input = randomBytes(300_000);
    const at = ['--offset', String(SIZE - 100_000)];
    const { exitCode, json } = await runJson(['write', volume.directory, ...at], { input });
    expect(exitCode).toBe(1);
    const written = Number(json.error?.details.writtenBytes);
    expect(json.error?.hint).toContain(`first ${written} bytes`);
    const expected = Buffer.from(content);
    input.copy(expected, SIZE - 100_000, 0, written);
    expect((await readAll(volume.directory)).equals(expected)).toBe(true);
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 0, state: 'clean' });
    expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
  });
});

it('a reader that goes away is no failure', async () => {
  const binary = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
  const child = spawn(process.execPath, [binary, 'read', volume.directory, '--output', '-']);
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  child.stdout.once('data', () => child.stdout.destroy());
  const exitCode = await new Promise((resolve) => child.on('close', resolve));
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
});

describe('a raw image', () => {
  it('that has a superblock is a member, but for --as-raw, which only reads', async () => {
    const image = volume.images[0]!;
    const before = await contentOf(volume.directory);
    for (const command of ['read', 'write']) {
      const { exitCode, json } = await runJson([command, image], { input: 'x' });
      expect(exitCode, command).toBe(1);
      expect(json.error).toMatchObject({ details: { reason: 'TWO_MEMBERS_MISSING' } });
    }
    const raw = await runHoldfast(['read', image, '--as-raw', '--offset', '4096', '--length', '4']);
    expect(raw.stdoutBytes.readUInt32LE()).toBe(0xa92b4efc);
    expect((await runJson(['status', image, '--as-raw'])).json.result).toMatchObject({ members: [] });
    expect((await runJson(['write', image, '--as-raw'], { input: 'x' })).exitCode).toBe(2);
    expect((await runJson(['read', ...volume.images, '--as-raw'])).exitCode).toBe(2);
    expect(await contentOf(volume.directory)).toEqual(before);
  });

  it('without one is its bytes; a tail that is no whole sector is warned of', async () => {
    const image = join(folder, 'raw.img');
    await writeFile(image, content.subarray(0, 100_000));
    expect((await runJson(['write', image, '--offset', '3'], { input: 'new' })).exitCode).toBe(0);
    const { exitCode, stdoutBytes, stderr } = await runHoldfast(['read', image]);
    expect(exitCode).toBe(0);
    const expected = Buffer.from(content.subarray(0, 99_840));
    expected.write('new', 3);
    expect(stdoutBytes.equals(expected)).toBe(true);
    expect(stderr).toContain('its last 160 bytes are left out');
    await copyFile(image, `${image}.2`);
    expect((await runJson(['read', image, `${image}.2`])).json.error?.code).toBe('NOT_ASSEMBLED');
  });
});

it('NBD URIs are never paths', async () => {
  const missing = 'nbd+unix:///export?socket=/no/such/socket';
  for (const command of ['status', 'examine', 'write']) {
    const { exitCode, json } = await runJson([command, missing]);
    expect(exitCode).toBe(10);
    expect(json.error).toMatchObject({ code: 'VOLUME_NOT_FOUND', message: expect.stringContaining(missing) });
  }
  expect((await runJson(['status', 'nbd+vsock://1'])).json.error).toMatchObject({ code: 'UNSUPPORTED' });
  expect((await runJson(['create', 'nbd://host/export', '--size', '1MiB'])).json.error).toMatchObject({
    code: 'UNSUPPORTED',
  });
});
