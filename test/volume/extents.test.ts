/**
 * Volumes of files, opened: on one image and on RAID-5, with images of their own for metadata and journal; what is
 * missing, damaged or another volume's; and that reading writes nothing.
 */
import { randomBytes } from 'node:crypto';
import { copyFile, readFile as readBytes, readdir, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXTENTS_SUPERBLOCK } from '../../src/extents/format/fields.js';
import { openStore } from '../../src/volume/extents-store.js';
import { overwrite, rot } from '../check/support/images.js';
import {
  EXTENT_BYTES,
  makeExtents,
  readFile,
  SHAPES,
  withExtents,
  withImages,
  writeFile,
} from '../support/extents-volumes.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf } from '../support/volumes.js';

const folder = await temporaryFolder();
let count = 0;
const place = (): string => join(folder, `volume-${count++}`);

async function make(flags: readonly string[] = SHAPES['one image'], images = false): Promise<string> {
  const directory = place();
  await makeExtents(directory, [...flags, ...(images ? withImages(directory) : [])]);
  return directory;
}

async function statusOf(...volume: string[]) {
  const { exitCode, json } = await runJson(['status', ...volume]);
  const { state, extents, problems, format, sizeBytes } = json.result as {
    state: string;
    format: string;
    sizeBytes: number;
    extents?: Record<string, number | null>;
    problems: { code: string; message: string }[];
  };
  return { exitCode, state, extents, problems, format, sizeBytes };
}

const shapes = Object.entries(SHAPES).flatMap(([name, flags]) =>
  [false, true].map((images) => [images ? `${name}, with images of its own` : name, flags, images] as const),
);

describe.each(shapes)('a volume on %s', (_, flags, images) => {
  it('has its extents, and a transaction that is left is dirty, seen by readers as it is, and completed', async () => {
    const directory = await make(flags, images);
    const content = randomBytes(3 * 4096);
    const empty = await statusOf(directory);
    expect(empty).toMatchObject({ exitCode: 0, state: 'clean', format: 'extents', problems: [] });
    const extents = images ? 16 + 8 : 20;
    expect(empty.extents).toMatchObject({ extentBytes: EXTENT_BYTES, blockBytes: 4096 });
    expect(empty.extents?.extents).toBeGreaterThanOrEqual(extents);
    expect(empty.extents?.free).toBe(empty.extents?.extents);
    expect(empty.sizeBytes).toBe(((empty.extents?.extents ?? 0) - (images ? 8 : 0)) * EXTENT_BYTES);
    await withExtents(directory, 'write', async (open) => {
      expect(open).toMatchObject({ isReadOnly: false, isJournalShared: !images, warnings: [] });
      await writeFile(open, 'one', content, 'hardening');
    });
    const left = await statusOf(directory);
    expect(left).toMatchObject({
      exitCode: 3,
      state: 'dirty',
      extents: { files: 1, transactionsToComplete: 1 },
    });
    expect(left.problems).toMatchObject([{ code: 'EXTENTS_UNFINISHED' }]);
    const before = await contentOf(directory);
    await withExtents(directory, 'read', async (open) => {
      expect(open.isReadOnly).toBe(true);
      expect(await readFile(open, 'one')).toBeNull();
      await open.service.request({ type: 'Create_File', client: 'holdfast', name: 'two', sizeBytes: 0 });
    });
    expect(await contentOf(directory)).toEqual(before);
    const recovered = await runJson(['recover', directory]);
    expect(recovered).toMatchObject({ exitCode: 0, json: { result: { redoneTransactions: 1 } } });
    expect(await statusOf(directory)).toMatchObject({
      exitCode: 0,
      state: 'clean',
      extents: { files: 1, journal: 0, transactionsToComplete: 0 },
    });
    const again = await runJson(['recover', directory]);
    expect(again).toMatchObject({ exitCode: 0, json: { result: { redoneTransactions: 0 } } });
    await withExtents(directory, 'read', async (open) => {
      const bytes = await readFile(open, 'one');
      expect(Buffer.compare(bytes!.subarray(0, content.length), content)).toBe(0);
    });
  });
});

describe('recovery', () => {
  it('keeps what a client comes back to, and frees what nobody knows of', async () => {
    const directory = await make();
    await withExtents(directory, 'write', async (open) => {
      await writeFile(open, 'kept', randomBytes(4096), 'flags');
      await writeFile(open, 'lost', randomBytes(4096), 'association');
    });
    expect((await statusOf(directory)).extents).toMatchObject({ journal: 2, uncommitted: 1 });
    const { json } = await runJson(['recover', directory]);
    expect(json.result).toMatchObject({ redoneTransactions: 0, freedExtents: 1 });
    expect(await statusOf(directory)).toMatchObject({
      state: 'clean',
      extents: { journal: 1, uncommitted: 1 },
    });
  });

  it('says in words what it has done', async () => {
    const directory = await make();
    await withExtents(directory, 'write', (open) => writeFile(open, 'one', randomBytes(4096), 'hardening'));
    const { stdout } = await runHoldfast(['recover', directory]);
    expect(stdout).toMatch(/^1 transactions that were committed are complete \(\d+ blocks copied\)$/m);
    const status = await runHoldfast(['status', directory]);
    expect(status.stdout).toMatch(/^Files: +1$/m);
    expect(status.stdout).toMatch(/^To complete: +0 transactions$/m);
  });
});

describe('its bytes', () => {
  it.each(Object.entries(SHAPES))('on %s are not read or written as one disk', async (_, flags) => {
    const directory = await make(flags);
    const before = await contentOf(directory);
    const write = await runJson(['write', directory], { input: 'x'.repeat(4096) });
    expect(write).toMatchObject({
      exitCode: 1,
      json: { error: { code: 'UNSUPPORTED', hint: expect.stringContaining('file write') } },
    });
    const read = await runJson(['read', directory, '--output', join(folder, `out-${count++}`)]);
    expect(read.json.error).toMatchObject({ code: 'UNSUPPORTED', hint: expect.stringContaining('--as-raw') });
    // Its files are, and it has none.
    const serve = await runJson(['serve', directory, '--run', 'true']);
    expect(serve.json.error).toMatchObject({ code: 'REFUSED', hint: expect.stringContaining('file create') });
    expect((await contentOf(directory)).size).toBe(before.size);
    const raw = await runHoldfast(['read', directory, '--length', '8', '--as-raw', '--output', '-']);
    expect(raw.stdout).toBe('hfextent');
  });

  it('nor are those of its images, by their own names', async () => {
    const directory = await make(SHAPES['one image'], true);
    for (const name of ['disk.img', 'metadata.img', 'journal.img']) {
      const { json } = await runJson(['write', join(directory, name)], { input: 'x' });
      expect(json.error, name).toMatchObject({ code: 'UNSUPPORTED' });
    }
    expect(await statusOf(directory)).toMatchObject({ state: 'clean', problems: [] });
  });
});

describe('images of its own', () => {
  it.each(['metadata.img', 'journal.img'])(
    '%s missing is told, and nothing is made in its place',
    async (name) => {
      const directory = await make(SHAPES['RAID-5'], true);
      await rename(join(directory, name), join(folder, `away-${count++}`));
      const status = await statusOf(directory);
      expect(status).toMatchObject({ exitCode: 4, state: 'failed', format: 'extents' });
      expect(status.problems).toMatchObject([
        { code: 'NOT_ASSEMBLED', message: expect.stringContaining(`${name} is not there`) },
      ]);
      const { exitCode, json } = await runJson(['recover', directory]);
      expect(exitCode).toBe(1);
      expect(json.error).toMatchObject({ code: 'NOT_ASSEMBLED', details: { image: join(directory, name) } });
      expect(await readdir(directory)).not.toContain(name);
    },
  );

  it.each([
    ['metadata.img', 'metadata.img', 'another volume'],
    ['journal.img', 'journal.img', 'another volume'],
    ['disk.img', 'journal.img', 'another volume'],
  ])('%s of another volume as %s is told, and left as it is', async (source, name, why) => {
    const directory = await make(SHAPES['one image'], true);
    const other = await make(SHAPES['one image'], true);
    await copyFile(join(other, source), join(directory, name));
    const before = await contentOf(directory);
    const { json } = await runJson(['recover', directory]);
    expect(json.error).toMatchObject({ code: 'NOT_ASSEMBLED', message: expect.stringContaining(why) });
    expect(await contentOf(directory)).toEqual(before);
  });

  it.each([
    ['metadata.img', 'journal.img', 'it is the metadata image'],
    ['journal.img', 'metadata.img', 'it is the journal image'],
  ])('%s as %s is told', async (source, name, why) => {
    const directory = await make(SHAPES['one image'], true);
    await copyFile(join(directory, source), join(directory, name));
    const { json } = await runJson(['recover', directory]);
    expect(json.error).toMatchObject({ code: 'NOT_ASSEMBLED', message: expect.stringContaining(why) });
  });

  it('holding something else are told', async () => {
    const directory = await make(SHAPES['one image'], true);
    await overwrite(join(directory, 'journal.img'), 0, new Uint8Array(4096));
    await truncate(join(directory, 'journal.img'), 4096);
    const { json } = await runJson(['recover', directory]);
    expect(json.error).toMatchObject({
      code: 'NOT_ASSEMBLED',
      message: expect.stringContaining('it has no superblock'),
    });
  });

  it('are in use while the volume is', async () => {
    const directory = await make(SHAPES['one image'], true);
    await withExtents(directory, 'write', async () => {
      for (const name of ['metadata.img', 'journal.img']) {
        const { exitCode } = await runJson(['write', join(directory, name)], { input: 'x' });
        expect(exitCode, name).toBe(11);
      }
      expect(await statusOf(directory)).toMatchObject({ state: 'active', problems: [] });
    });
  });
});

describe('damage', () => {
  it.each(Object.entries(SHAPES))(
    'of a copy of the superblock on %s is told by readers, and mended by writers',
    async (_, flags) => {
      const directory = await make(flags);
      const image = join(
        directory,
        (await readdir(directory)).find((name) => name.endsWith('0.img')) ?? 'disk.img',
      );
      const at = (await readBytes(image)).indexOf('hfextent');
      await rot(image, at + EXTENTS_SUPERBLOCK.offsetOf('generation'));
      const status = await statusOf(directory);
      expect(status).toMatchObject({ state: 'clean', problems: [{ code: 'EXTENTS_COPY_DAMAGED' }] });
      const { json } = await runJson(['recover', directory]);
      expect(json.warnings?.join()).toContain('is damaged: its checksum is wrong');
      expect((await statusOf(directory)).problems).toEqual([]);
    },
  );

  it('of both copies leaves nothing to open', async () => {
    const directory = await make();
    const image = join(directory, 'disk.img');
    const size = (await readBytes(image)).length;
    for (const at of [100, size - 4096 + 100]) await rot(image, at);
    expect(await statusOf(directory)).toMatchObject({
      exitCode: 4,
      state: 'failed',
      problems: [{ code: 'METADATA_DAMAGED' }],
    });
    expect((await runJson(['recover', directory])).json.error).toMatchObject({ code: 'METADATA_DAMAGED' });
    const examined = await runJson(['examine', image]);
    expect(examined.exitCode).toBe(4);
  });

  it('of the metadata in both halves is told, with the sizes that are still known', async () => {
    const directory = await make(SHAPES['one image'], true);
    const image = join(directory, 'metadata.img');
    const bytes = await readBytes(image);
    for (let at = bytes.indexOf('hfmeta'); at >= 0; at = bytes.indexOf('hfmeta', at + 1))
      await rot(image, at + 50);
    const status = await statusOf(directory);
    expect(status).toMatchObject({
      exitCode: 4,
      state: 'failed',
      extents: { extentBytes: EXTENT_BYTES, free: null },
    });
    const examined = await runJson(['examine', image]);
    expect(examined.exitCode).toBe(4);
    expect((await runHoldfast(['examine', image])).stdout).toContain('damaged in both copies');
  });
});

it('examine shows what is on each image', async () => {
  const directory = await make(SHAPES['one image'], true);
  const images = ['disk.img', 'metadata.img', 'journal.img'].map((name) => join(directory, name));
  const { exitCode, json } = await runJson(['examine', ...images]);
  expect(exitCode).toBe(0);
  const found = json.result?.images as {
    extents: { superblocks: { superblock: { role: string } }[]; engine: unknown };
  }[];
  expect(found.map(({ extents }) => extents.superblocks.map(({ superblock }) => superblock.role))).toEqual([
    ['volume', 'volume'],
    ['metadata', 'metadata'],
    ['journal', 'journal'],
  ]);
  expect(found.map(({ extents }) => extents.engine)).toMatchObject([
    null,
    { problems: [], root: { generation: 1 } },
    null,
  ]);
  await rot(images[0]!, 200);
  expect((await runJson(['examine', images[0]!])).exitCode).toBe(3);
});

it('a volume that is raw holds no files', async () => {
  const directory = place();
  await runJson(['create', directory, '--members', '1', '--size', '1MiB']);
  await expect(withExtents(directory, 'write', async () => undefined)).rejects.toMatchObject({
    code: 'UNSUPPORTED',
  });
  await rm(directory, { recursive: true });
});

describe.each(shapes)('the client of a volume on %s', (_, flags, images) => {
  it('writes files that the next process reads, and goes on with what was kept', async () => {
    const directory = await make(flags, images);
    const content = randomBytes(5 * EXTENT_BYTES + 777);
    await withExtents(directory, 'write', async (open) => {
      const store = await openStore(open);
      await store.files.create('disk', { sizeBytes: content.length });
      const file = await store.openFile('disk', { access: 'write' });
      await file.write(0, content);
      await file.commit();
      await file.write(100, Buffer.from('not committed'));
      await file.keep();
      await file.close();
      await store.close();
    });
    expect(await statusOf(directory)).toMatchObject({
      state: 'clean',
      extents: { files: 1, uncommitted: 1, transactionsToComplete: 0 },
    });
    expect((await runJson(['fsck', '-n', directory])).json.result?.findings).toEqual([]);
    const before = await contentOf(directory);
    await withExtents(directory, 'read', async (open) => {
      const store = await openStore(open);
      const file = await store.openFile('disk', { access: 'read' });
      const bytes = new Uint8Array(content.length);
      await file.read(0, bytes);
      expect(Buffer.compare(bytes, content)).toBe(0);
      await file.close();
      await store.close();
    });
    expect(await contentOf(directory)).toEqual(before);
    await withExtents(directory, 'write', async (open) => {
      const store = await openStore(open);
      expect(store.recovery).toMatchObject({ keptFiles: 1 });
      await store.journal.commit();
      await store.close();
    });
    expect((await statusOf(directory)).extents).toMatchObject({ uncommitted: 0, journal: 0 });
  });
});
