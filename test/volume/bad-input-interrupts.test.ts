/**
 * Ctrl-C and kill -9 amid work, at calls that are counted: the command ends with 130 (or is gone), what was
 * there before is there, and the next command goes on.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { compileFailingCalls } from '../support/failing-calls.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
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
const failing = compileFailingCalls(folder);
const input = join(folder, 'input');
/** Large enough for several groups of rows, so that there is an amid. */
const FLAGS = ['--members', '3', '--size', '12MiB', '--chunk', '64KiB'];
const OFFSET = 1024 * 1024 + 1;
const before = randomBytes(12 * 1024 ** 2);
const after = randomBytes(9 * 1024 ** 2);
let original: TestVolume;
let volume: TestVolume;
let count = 0;

beforeAll(async () => {
  original = await makeVolume(join(folder, 'original'), before, FLAGS);
  await writeFile(input, after);
});

/** A test that needs the library; without a compiler it says so. */
function amid(name: string, body: (env: NonNullable<typeof failing>) => Promise<void>): void {
  it(name, async () => {
    if (failing === null) return notTested(name, 'there is no C compiler (cc)');
    volume = await copyVolume(original, join(folder, `volume-${count++}`));
    await body(failing);
  });
}

const writeAll = (): string[] => ['write', volume.directory, '--offset', String(OFFSET), '--input', input];

/** Outside of what was written nothing has changed; inside each sector is the old or the new one. */
function expectOldOrNew(found: Buffer): void {
  expect(found.length).toBe(before.length);
  const end = OFFSET + after.length;
  expect(found.subarray(0, OFFSET).equals(before.subarray(0, OFFSET))).toBe(true);
  expect(found.subarray(end).equals(before.subarray(end))).toBe(true);
  for (let at = OFFSET; at < end; ) {
    const next = Math.min(end, (Math.floor(at / 512) + 1) * 512);
    const sector = found.subarray(at, next);
    const isNew = sector.equals(after.subarray(at - OFFSET, next - OFFSET));
    if (!isNew && !sector.equals(before.subarray(at, next))) throw new Error(`neither old nor new at ${at}`);
    at = next;
  }
}

/** How many bytes of `found` from `offset` on are those of `expected`. */
function firstDifference(found: Buffer, expected: Buffer, offset: number): number {
  let length = 0;
  while (length < expected.length && found[offset + length] === expected[length]) length++;
  return length;
}

describe('Ctrl-C', () => {
  amid('amid a write leaves the volume clean', async (env) => {
    const interrupted = await runJson([...writeAll(), '--fua'], {
      env: env({ files: '.img', calls: 'w', after: 9, signal: 'SIGINT' }),
    });
    expect(interrupted).toMatchObject({
      exitCode: 130,
      json: { exitCode: 130, error: { code: 'INTERRUPTED', details: { signal: 'SIGINT' } } },
    });
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 0, state: 'clean' });
    expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
    const found = await readAll(volume.directory);
    // In order, and then nothing more.
    const written = firstDifference(found, after, OFFSET);
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThan(after.length);
    expect(found.subarray(OFFSET + written).equals(before.subarray(OFFSET + written))).toBe(true);
  });

  amid('amid a rebuild keeps what was done, and the same command goes on', async (env) => {
    const image = `${volume.directory}-new`;
    const add = ['member', 'add', volume.directory, '--image', image];
    expect((await runJson(['member', 'fail', volume.directory, '--slot', '1'])).exitCode).toBe(0);
    const interrupted = await runJson(add, {
      env: env({ files: '-new', calls: 'w', after: 6, signal: 'SIGINT' }),
    });
    expect(interrupted).toMatchObject({ exitCode: 130, json: { error: { code: 'INTERRUPTED' } } });
    const status = await statusOf(volume.directory);
    expect(status).toMatchObject({ exitCode: 3, state: 'rebuilding' });
    const { rebuiltBytes } = status.members.find((member) => member.image === image) as unknown as {
      rebuiltBytes: number;
    };
    expect(rebuiltBytes).toBeGreaterThan(0);
    const { exitCode, json } = await runJson(add);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ slot: 1, fromBytes: rebuiltBytes });
    expect((await readAll(volume.directory)).equals(before)).toBe(true);
    expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
  });

  amid('amid a scrub leaves everything as it was', async (env) => {
    const images = await contentOf(volume.directory);
    const { exitCode, json } = await runJson(['scrub', volume.directory], {
      env: env({ files: '-1.img', calls: 'r', after: 6, signal: 'SIGINT' }),
    });
    expect(exitCode).toBe(130);
    expect(json.error?.code).toBe('INTERRUPTED');
    expect(await contentOf(volume.directory)).toEqual(images);
  });

  amid('amid a recovery leaves what is left to be recovered', async (env) => {
    const killed = env({ files: '.img', calls: 'w', after: 9, signal: 'SIGKILL' });
    expect((await runHoldfast(writeAll(), { env: killed })).exitCode).toBe(137);
    const dirty = await statusOf(volume.directory);
    expect(dirty).toMatchObject({ exitCode: 3, state: 'dirty' });
    const { exitCode } = await runJson(['recover', volume.directory], {
      env: env({ files: '-1.img', calls: 'r', after: 8, signal: 'SIGINT' }),
    });
    expect(exitCode).toBe(130);
    const left = await statusOf(volume.directory);
    expect(left).toMatchObject({ exitCode: 3, state: 'dirty' });
    expect(left.dirtyStripes).toBeLessThanOrEqual(dirty.dirtyStripes);
    const recovered = await runJson(['recover', volume.directory]);
    expect(recovered.exitCode).toBe(0);
    expect(recovered.json.result?.resyncedStripes).toBe(left.dirtyStripes);
    expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
    expectOldOrNew(await readAll(volume.directory));
  });
});

describe('kill -9', () => {
  for (const calls of [1, 9]) {
    amid(`amid a write, at its write ${calls}: the next one recovers first`, async (env) => {
      const killed = env({ files: '.img', calls: 'w', after: calls, signal: 'SIGKILL' });
      expect((await runHoldfast(writeAll(), { env: killed })).exitCode).toBe(137);
      const images = await contentOf(volume.directory);
      const { exitCode, state } = await statusOf(volume.directory);
      if (calls >= 5) expect({ exitCode, state }).toEqual({ exitCode: 3, state: 'dirty' });
      expectOldOrNew(await readAll(volume.directory));
      expect(await contentOf(volume.directory)).toEqual(images);
      const again = await runJson(writeAll());
      expect(again.exitCode).toBe(0);
      if (state === 'dirty') expect(again.json.warnings.join()).toContain('was not closed');
      expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
    });
  }

  amid('amid a rebuild: it goes on, and the content is whole', async (env) => {
    const image = `${volume.directory}-new`;
    expect((await runJson(['member', 'fail', volume.directory, '--slot', '2'])).exitCode).toBe(0);
    const add = ['member', 'add', volume.directory, '--image', image];
    const killed = env({ files: '-new', calls: 'w', after: 5, signal: 'SIGKILL' });
    expect((await runHoldfast(add, { env: killed })).exitCode).toBe(137);
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 3, state: 'rebuilding' });
    expect((await readAll(volume.directory)).equals(before)).toBe(true);
    expect((await runJson(['recover', volume.directory])).exitCode).toBe(0);
    expect(await statusOf(volume.directory)).toMatchObject({ exitCode: 0, state: 'clean' });
    expect((await readAll(volume.directory)).equals(before)).toBe(true);
    expect((await runJson(['scrub', volume.directory])).exitCode).toBe(0);
  });
});
