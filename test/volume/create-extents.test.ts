/**
 * `holdfast create --format extents`: sizes that can be and those that cannot, images of its own for metadata and
 * journal, nothing overwritten that was not asked for, and nothing left of a volume that is not made after all.
 */
import { mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createVolume } from '../../src/volume/index.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf } from '../support/volumes.js';

const folder = await temporaryFolder();
const MIB = 1024 ** 2;
let count = 0;

async function place(): Promise<string> {
  const around = join(folder, `place-${count++}`);
  await mkdir(around);
  return around;
}

const create = (directory: string, ...flags: string[]) =>
  runJson(['create', directory, '--format', 'extents', ...sized(flags)]);

const sized = (flags: readonly string[]): readonly string[] =>
  flags.includes('--size') ? flags : ['--size', '1MiB', ...flags];

describe('a new volume of extents', () => {
  it('on an array has extents of whole stripes, as many as were asked for and some for the journal', async () => {
    const directory = join(await place(), 'v');
    const { exitCode, json } = await create(directory, '--size', '20MiB');
    expect(exitCode).toBe(0);
    const { extents, sizeBytes, imageSizeBytes } = json.result as {
      extents: { extents: number; extentBytes: number };
      sizeBytes: number;
      imageSizeBytes: number;
    };
    expect(extents).toEqual({
      blockBytes: 4096,
      extentBytes: 1152 * 1024,
      flags: 'metadata',
      extents: 18 + 4,
      journalExtents: 0,
      metadataBytes: expect.any(Number),
      metadata: null,
      journalImage: null,
    });
    expect(sizeBytes).toBe(22 * 1152 * 1024);
    expect((await stat(join(directory, 'member-0.img'))).size).toBe(imageSizeBytes);
    expect(JSON.parse(await readFile(join(directory, 'holdfast.json'), 'utf8'))).toMatchObject({
      format: 'extents',
      kind: 'raid',
    });
  });

  it('is planned by --dry-run as it is made, and nothing is made by that', async () => {
    const around = await place();
    const flags = ['--members', '1', '--metadata', join(around, 'm'), '--journal-image', join(around, 'j')];
    const more = ['--journal-size', '2MiB', '--extent', '128KiB', '--block', '8KiB'];
    const dry = await create(join(around, 'v'), ...flags, ...more, '--dry-run');
    expect(await readdir(around)).toEqual([]);
    const made = await create(join(around, 'v'), ...flags, ...more);
    expect(made.exitCode).toBe(0);
    expect(made.json.result).toEqual({ ...dry.json.result, dryRun: undefined, uuid: expect.any(String) });
    expect(made.json.result?.extents).toMatchObject({
      extentBytes: 128 * 1024,
      blockBytes: 8192,
      extents: 8,
      journalExtents: 16,
      metadata: join(around, 'm'),
    });
    expect((await readdir(around)).sort()).toEqual(['j', 'm', 'v']);
    const text = await runHoldfast([
      'create',
      join(around, 'w'),
      '--format',
      'extents',
      '--size',
      '1M',
      '--dry-run',
    ]);
    expect(text.stdout).toMatch(/^Extents: +5 of 1\.13 MiB/m);
  });

  it('takes what is there and blank, a larger plain image to its end', async () => {
    const around = await place();
    const [image, metadata, journal] = ['d', 'm', 'j'].map((name) => join(around, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(image, '');
    await truncate(image, 32 * MIB);
    await writeFile(journal, '');
    const flags = ['--members', '1', '--image', image, '--metadata', metadata];
    const made = await create(
      join(around, 'v'),
      ...flags,
      '--journal-image',
      journal,
      '--journal-size',
      '1MiB',
    );
    expect(made.exitCode).toBe(0);
    expect(made.json.result?.extents).toMatchObject({ extents: 510, journalExtents: 16 });
    expect((await stat(image)).size).toBe(32 * MIB);
    expect((await stat(journal)).size).toBeGreaterThan(MIB);
  });
});

describe('what is refused', () => {
  it.each([
    [['--extent', '1000'], 'USAGE', 'an extent of 1000 bytes cannot be'],
    [['--extent', '65MiB'], 'USAGE', 'it has 4 KiB to 64 MiB'],
    [['--extent', '64MiB', '--block', '512'], 'USAGE', 'of 131072 blocks'],
    [['--extent', '12KiB', '--block', '8KiB'], 'USAGE', 'no multiple of its blocks'],
    [['--block', '5000'], 'USAGE', 'a block of 5000 bytes'],
    [['--journal-image', 'j'], 'USAGE', 'missing: --journal-size'],
    [['--journal-size', '1M'], 'USAGE', '--journal-image names none'],
    [['--journal-image', 'j', '--journal-size', '0'], 'USAGE', 'must be more than 0'],
    [['--journal-image', '', '--journal-size', '1M'], 'USAGE', '--journal-image names no file'],
    [['--metadata', 'm', '--journal-image', './m', '--journal-size', '1M'], 'USAGE', 'a file of its own'],
    [['--metadata', 'v/member-1.img'], 'USAGE', 'a file of its own'],
    [['--metadata', 'v/holdfast.json'], 'USAGE', 'a file of its own'],
    [['--metadata', 'nbd://localhost/x'], 'UNSUPPORTED', 'NBD'],
    [['--size', '1000T', '--extent', '4KiB'], 'USAGE', 'too many for extents of 4096 bytes'],
  ])('%j: %s', async (flags, code, message) => {
    const around = await place();
    const args = ['create', 'v', '--format', 'extents', ...sized(flags)];
    const { json } = await runJson(args, { cwd: around });
    expect(json.error).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(await readdir(around)).toEqual([]);
  });

  it.each(['--metadata', '--journal-image'])(
    'a file of %s that holds data, without --force',
    async (flag) => {
      const around = await place();
      const part = join(around, 'part');
      await writeFile(part, 'precious'.repeat(1000));
      const flags = [
        '--members',
        '1',
        flag,
        part,
        ...(flag === '--metadata' ? [] : ['--journal-size', '1M']),
      ];
      const before = await contentOf(around);
      const refused = await create(join(around, 'v'), ...flags);
      expect(refused.json.error).toMatchObject({
        code: 'NOT_BLANK',
        hint: expect.stringContaining(flag),
        details: { image: part, offsetBytes: 0 },
      });
      expect((await create(join(around, 'v'), ...flags, '--force')).json.error?.code).toBe(
        'CONFIRMATION_REQUIRED',
      );
      expect(await contentOf(around)).toEqual(before);
      expect((await create(join(around, 'v'), ...flags, '--force', '--yes')).exitCode).toBe(0);
    },
  );
});

it('leaves nothing of a volume that is not made after all', async () => {
  const around = await place();
  const [journal, image] = [join(around, 'journal'), join(around, 'image')];
  for (const [path, size] of [
    [journal, 1000],
    [image, 32 * MIB],
  ] as const) {
    await writeFile(path, '');
    await truncate(path, size);
  }
  const before = await contentOf(around);
  const directory = join(around, 'v');
  await mkdir(join(directory, 'holdfast.json.new', 'in the way'), { recursive: true });
  const making = createVolume({
    directory,
    members: 1,
    sizeBytes: MIB,
    chunkBytes: 65536,
    layout: 'left-symmetric',
    images: [image],
    extents: { metadata: join(around, 'metadata'), journalImage: journal, journalSizeBytes: MIB },
    force: false,
  });
  await expect(making).rejects.toMatchObject({ message: expect.stringContaining('holdfast.json') });
  expect(await contentOf(journal, image)).toEqual(before);
  expect((await stat(journal)).size).toBe(1000);
  expect((await readdir(around)).sort()).toEqual(['image', 'journal', 'v']);
});
