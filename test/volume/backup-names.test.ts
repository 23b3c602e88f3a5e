/** What has the name of a backup, of its container or of its source: others have it too. */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openImageTarget } from '../../src/volume/backup/image-target.js';
import { ok, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { readAll } from '../support/volumes.js';

const MIB = 1024 * 1024;

async function oneImage(): Promise<{ folder: string; volume: string }> {
  const folder = await temporaryFolder();
  const volume = join(folder, 'v');
  await ok('create', volume, '--members', '1', '--size', '4MiB');
  await writeFile(join(folder, 'content'), randomBytes(MIB));
  await ok('write', volume, '--offset', '5000', '--input', join(folder, 'content'));
  return { folder, volume };
}

it('a container that is named like the backup takes nothing of it away', { timeout: 60_000 }, async () => {
  const { folder, volume } = await oneImage();
  const server = await serve(folder, volume);
  const image = join(folder, 'copy.img');
  await ok('backup', 'create', volume, '--output', image, '--container', image);
  expect(Buffer.compare(await readFile(image), await readAll(volume))).toBe(0);
  await server.stop();
});

it('a name that two take at once is that of the first, and of no half of the second', async () => {
  const image = join(await temporaryFolder(), 'copy.img');
  const options = { sizeBytes: MIB, force: false, signal: new AbortController().signal };
  const [first, content] = [await openImageTarget(image, options), randomBytes(MIB)];
  await expect(openImageTarget(image, options)).rejects.toMatchObject({ code: 'IN_USE' });
  await first.put(0, content);
  await first.finish();
  expect((await readFile(image)).equals(content)).toBe(true);
});

it.each([0, 100, 512, 5000])('what a killed process has left, of %i bytes, is made anew', async (bytes) => {
  const image = join(await temporaryFolder(), 'copy.img');
  await writeFile(`${image}.incomplete`, randomBytes(bytes));
  const target = await openImageTarget(image, {
    sizeBytes: MIB,
    force: false,
    signal: new AbortController().signal,
  });
  await target.finish();
  expect((await readFile(image)).equals(Buffer.alloc(MIB))).toBe(true);
});

it('an export that others may write is told to be no moment', { timeout: 60_000 }, async () => {
  const { folder, volume } = await oneImage();
  const server = await serve(folder, volume);
  const made = await runJson(['backup', 'create', server.uri, '--output', join(folder, 'copy.img')]);
  expect(made).toMatchObject({
    exitCode: 0,
    json: { warnings: [expect.stringMatching(/what others write to it meanwhile/)] },
  });
  await server.stop();
});
