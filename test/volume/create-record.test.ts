/**
 * `holdfast create --record FILE`: the file is there when the volume is, bound to it; what else a file holds is not
 * overwritten unless that is asked for; and of a volume that is not made after all nothing stays.
 */
import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createVolume } from '../../src/volume/index.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, SHAPE } from '../support/volumes.js';

const folder = await temporaryFolder();
/** Of a volume of SHAPE: two copies of two slots, each of 8 KiB. */
const RECORD_BYTES = 32768;
const MIB = 1024 ** 2;
const shape = { members: 3, sizeBytes: MIB, chunkBytes: 4096, layout: 'left-symmetric' };
let count = 0;

/** A folder of its own, in which the volume and its record are to be. */
async function place(): Promise<{ directory: string; record: string; around: string }> {
  const around = join(folder, `place-${count++}`);
  await mkdir(around);
  return { directory: join(around, 'volume'), record: join(around, 'record'), around };
}

const create = (directory: string, record: string, ...more: string[]) =>
  runJson(['create', directory, ...SHAPE, '--record', record, ...more]);

/** What `status` says of the record, and what it warns of. */
async function seen(directory: string) {
  const { exitCode, json } = await runJson(['status', directory]);
  const { raid, problems } = json.result as {
    raid: { record: object };
    problems: readonly { code: string }[];
  };
  return { exitCode, record: raid.record, problems, warnings: json.warnings };
}

describe('a new volume with a record in a file', () => {
  it('has it from the start: status shows it, and warns of nothing', async () => {
    const { directory, record } = await place();
    expect((await create(directory, record)).exitCode).toBe(0);
    expect((await stat(record)).size).toBe(RECORD_BYTES);
    expect(await seen(directory)).toEqual({
      exitCode: 0,
      record: expect.objectContaining({ kind: 'file', file: record, verdict: 'valid', generation: 1 }),
      problems: [],
      warnings: [],
    });
    const { stdout } = await runHoldfast(['status', directory]);
    expect(stdout).toMatch(new RegExp(`^Stripe record: +in ${record}$`, 'm'));
    expect((await runHoldfast(['fsck', '-n', directory])).exitCode).toBe(0);
    const written = await runJson(['write', directory], { input: 'content' });
    expect(written.json.warnings).toEqual([]);
    expect((await seen(directory)).problems).toEqual([]);
  });

  it('misses it when it is lost before anything was written', async () => {
    const { directory, record } = await place();
    await create(directory, record);
    await rm(record);
    const { problems, record: shown } = await seen(directory);
    expect(problems.map(({ code }) => code)).toEqual(['RECORD_FILE']);
    expect(shown).toMatchObject({ kind: 'file', file: record, generation: null });
    const { stdout } = await runHoldfast(['status', directory]);
    expect(stdout).toMatch(new RegExp(`^Stripe record: +in ${record}, not used \\(.*not there\\)$`, 'm'));
  });

  it('has one that is bound to it: to the next volume it is something else', async () => {
    const { directory, record, around } = await place();
    await create(directory, record);
    const other = join(around, 'other');
    await create(other, join(around, 'other-record'));
    const before = await contentOf(around);
    const { exitCode, json } = await runJson(['write', other, '--record', record], { input: 'x' });
    expect(exitCode).toBe(1);
    expect(json.error).toMatchObject({ code: 'REFUSED', details: { image: record } });
    expect(await contentOf(around)).toEqual(before);
  });
});

describe('a file that is there', () => {
  it.each([
    ['text', 'not mine', 0],
    [
      'something long',
      Buffer.concat([Buffer.alloc(70_000), Buffer.from('precious'), Buffer.alloc(512)]),
      70_000,
    ],
  ])(
    'and holds %s wants --force and a yes, and is not touched until then',
    async (_, content, offsetBytes) => {
      const { directory, record, around } = await place();
      await writeFile(record, content);
      const before = await contentOf(around);
      const refused = await create(directory, record);
      expect(refused).toMatchObject({
        exitCode: 1,
        json: { error: { code: 'NOT_BLANK', details: { image: record, offsetBytes } } },
      });
      expect(refused.json.error?.hint).toContain('--force --yes');
      const unasked = await create(directory, record, '--force');
      expect(unasked).toMatchObject({ exitCode: 2, json: { error: { code: 'CONFIRMATION_REQUIRED' } } });
      expect(unasked.json.error?.message).toContain(record);
      const dry = await create(directory, record, '--force', '--dry-run');
      expect(dry.json.result).toMatchObject({ record, overwrites: [{ image: record, offsetBytes }] });
      expect(await contentOf(around)).toEqual(before);
      expect((await create(directory, record, '--force', '--yes')).exitCode).toBe(0);
      expect(await seen(directory)).toMatchObject({
        exitCode: 0,
        record: { verdict: 'valid' },
        problems: [],
      });
      expect((await readFile(record)).includes('precious')).toBe(false);
    },
  );

  it.each([
    ['empty', 0],
    ['blank and too short', 5000],
    ['blank and long', MIB],
  ])('and is %s is used', async (_, size) => {
    const { directory, record } = await place();
    await writeFile(record, '');
    await truncate(record, size);
    expect((await create(directory, record)).exitCode).toBe(0);
    expect((await stat(record)).size).toBe(Math.max(size, RECORD_BYTES));
    expect(await seen(directory)).toMatchObject({ exitCode: 0, record: { verdict: 'valid' }, problems: [] });
  });

  it.each(['a directory', 'an image of the volume', 'the manifest'])(
    'and is %s is no place',
    async (what) => {
      const { directory, record, around } = await place();
      if (what === 'a directory') await mkdir(record);
      const named = { 'an image of the volume': 'member-0.img', 'the manifest': 'holdfast.json' }[what];
      const path = named === undefined ? record : join(directory, named);
      const { exitCode, json } = await create(directory, path, '--force', '--yes');
      expect(exitCode).toBe(named === undefined ? 1 : 2);
      expect(json.error?.message).toContain(path);
      expect(await readdir(around)).toEqual(named === undefined ? ['record'] : []);
    },
  );
});

describe('a volume that is not made after all', () => {
  /** Its manifest cannot be written, which comes last. */
  async function failing(directory: string): Promise<void> {
    await mkdir(join(directory, 'holdfast.json.new', 'in the way'), { recursive: true });
  }

  it('leaves no record', async () => {
    const { directory, record, around } = await place();
    await failing(directory);
    const made = createVolume({ ...shape, directory, record, force: false });
    await expect(made).rejects.toMatchObject({ name: 'UserError' });
    expect(await readdir(around)).toEqual(['volume']);
    expect(await readdir(directory)).toEqual(['holdfast.json.new']);
  });

  it.each([0, 5000, MIB])('leaves a file of %i bytes that was there as it was', async (size) => {
    const { directory, record } = await place();
    await writeFile(record, Buffer.alloc(size));
    await failing(directory);
    const made = createVolume({ ...shape, directory, record, force: false });
    await expect(made).rejects.toMatchObject({ name: 'UserError' });
    expect((await readFile(record)).equals(Buffer.alloc(size))).toBe(true);
  });

  it('because its record cannot be made leaves no member', async () => {
    const { directory, around } = await place();
    const { exitCode, json } = await create(directory, join(around, 'no such folder', 'record'));
    expect(exitCode).not.toBe(0);
    expect(json.error?.message).toContain('no such folder');
    expect(await readdir(around)).toEqual([]);
  });
});
