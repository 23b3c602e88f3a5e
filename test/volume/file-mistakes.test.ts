/** Mistakes with files and their volume: what each is told, in words that name what the user has named. */
import { link, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf } from '../support/volumes.js';

const CREATE = ['create', '--format', 'extents', '--members', '1'];
const folder = await temporaryFolder();
const volume = join(folder, 'v');
const images = ['disk.img', 'metadata.img', 'journal.img'].map((name) => join(volume, name));
const [disk, metadata, journal] = images as [string, string, string];

beforeAll(async () => {
  const parts = ['--metadata', metadata, '--journal-image', journal, '--journal-size', '1MiB'];
  const made = await runHoldfast([...CREATE, volume, '--size', '8MiB', ...parts]);
  expect(made).toMatchObject({ exitCode: 0, stderr: '' });
  await runHoldfast(['file', 'create', volume, 'disk', '--size', '64KiB']);
  await runHoldfast(['file', 'snapshot', volume, 'disk', '--as', 'kept']);
  await writeFile(join(folder, 'input'), 'new');
  await link(journal, join(folder, 'link'));
});

describe("an image of the volume's own", () => {
  it.each([
    ['the volume', disk],
    ['the metadata', metadata],
    ['the journal, by another name', join(folder, 'link')],
  ])('is no input: %s', async (_, image) => {
    const before = await contentOf(volume);
    for (const args of [
      ['file', 'write', volume, 'disk'],
      ['file', 'import', volume, 'new'],
    ]) {
      const { exitCode, json } = await runJson([...args, '--input', image]);
      expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 2, code: 'USAGE' });
      expect(json.error?.message).toContain('an image of the volume itself');
    }
    expect(await contentOf(volume)).toEqual(before);
  });

  it('is no output either', async () => {
    const before = await contentOf(volume);
    const { json } = await runJson(['file', 'export', volume, 'disk', '--output', metadata]);
    expect(json.error).toMatchObject({ code: 'REFUSED' });
    expect(await contentOf(volume)).toEqual(before);
  });

  it('by itself is said to be what it is, and of which volume', async () => {
    const examined = await runJson(['examine', disk]);
    const images = examined.json.result!.images as {
      extents: { superblocks: { superblock: { volumeUuid: string } }[] };
    }[];
    const { volumeUuid } = images[0]!.extents.superblocks[0]!.superblock;
    for (const [image, role] of [
      [journal, 'journal'],
      [metadata, 'metadata'],
    ] as const) {
      const { exitCode, json } = await runJson(['status', image]);
      expect(exitCode).toBe(4);
      expect(json.result).toMatchObject({ format: 'extents', state: 'failed' });
      const [problem] = json.result!.problems as { message: string; hint: string }[];
      expect(problem!.message).toContain(`is the ${role} image of the volume of files ${volumeUuid}`);
      expect(problem!.hint).toContain('directory');
    }
  });
});

it('a file that is served is named as the user names it, and the hint is of use', async () => {
  const served = await serve(folder, volume);
  const input = ['--input', join(folder, 'input')];
  const { json } = await runJson(['file', 'write', volume, 'kept', ...input]);
  expect(json.error).toMatchObject({ code: 'PERMISSION_DENIED', message: expect.stringMatching(/^kept /) });
  expect(JSON.stringify(json.error)).not.toContain('nbd+unix');
  const removed = await runJson(['file', 'remove', volume, 'disk', '--yes']);
  expect(removed.json.error).toMatchObject({ code: 'IN_USE', hint: expect.stringContaining('--export') });
  expect(removed.json.error?.hint).not.toContain('clients');
  expect((await served.stop()).exitCode).toBe(0);
});

it('one of anything is one, and control characters in a name are shown as such', async () => {
  const name = 'red \u001b[31m';
  const imported = await runHoldfast(['file', 'import', volume, name, '--input', join(folder, 'input')]);
  expect(imported.stdout).toContain('to red \\x1b[31m at');
  expect(imported.stdout).toContain('1 commit, 1 block written');
  expect((await runHoldfast(['file', 'list', volume])).stdout).toContain('red \\x1b[31m');
  const removed = await runHoldfast(['file', 'remove', volume, name, '--yes']);
  expect(removed.stdout).toBe('removed red \\x1b[31m\n');
});

it('examine of a directory says what looks at one', async () => {
  const { json } = await runJson(['examine', volume]);
  expect(json.error).toMatchObject({ code: 'UNSUPPORTED', hint: expect.stringContaining('holdfast status') });
});

it('blocks longer than extents are by default make extents as long', async () => {
  const large = join(folder, 'large');
  const made = await runJson([...CREATE, large, '--size', '8MiB', '--block', '1MiB']);
  expect(made.json.error).toBeUndefined();
  const { json } = await runJson(['status', large]);
  expect(json.result).toMatchObject({ extents: { blockBytes: 1024 ** 2, extentBytes: 1024 ** 2 } });
});
