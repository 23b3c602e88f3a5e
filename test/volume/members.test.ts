/** Images that come and go as members of a volume, through the volume itself. */
import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { failMember } from '../../src/raid/membership.js';
import { addMember, createVolume, openVolume, removeMember, type Volume } from '../../src/volume/index.js';
import { MANIFEST_NAME } from '../../src/volume/manifest.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
let count = 0;

const shape = {
  members: 3,
  sizeBytes: 1024 * 1024,
  chunkBytes: 65536,
  layout: 'left-symmetric',
  force: false,
};

async function makeVolume(): Promise<{ directory: string; images: readonly string[] }> {
  const directory = join(folder, `volume-${count++}`);
  const { images } = await createVolume({ ...shape, directory });
  return { directory, images };
}

async function openForWriting(directory: string): Promise<Volume> {
  return openVolume([directory], { access: 'write', warn: () => undefined });
}

async function listed(directory: string): Promise<string[]> {
  return (JSON.parse(await readFile(join(directory, MANIFEST_NAME), 'utf8')) as { images: string[] }).images;
}

describe('an image that is added', () => {
  it('and is too small is refused before anything of it is overwritten', async () => {
    const { directory } = await makeVolume();
    const other = await makeVolume();
    const image = other.images[0]!;
    await truncate(image, 1024 * 1024);
    const before = await readFile(image);
    const volume = await openForWriting(directory);
    await failMember(volume.array!, 0);
    await expect(addMember(volume, { image, replace: false, force: true })).rejects.toMatchObject({
      code: 'REFUSED',
      details: { image },
    });
    await volume.close();
    expect(Buffer.compare(await readFile(image), before)).toBe(0);
  });

  it('is closed with the volume though the manifest could not be written', async () => {
    const { directory } = await makeVolume();
    const volume = await openForWriting(directory);
    await failMember(volume.array!, 0);
    await writeFile(join(directory, MANIFEST_NAME), 'no manifest');
    const image = join(folder, `new-${count}.img`);
    await expect(addMember(volume, { image, replace: false, force: false })).rejects.toMatchObject({
      code: 'REFUSED',
    });
    await volume.close();
    const file = await open(image, 'r+');
    await file.close();
    // It is a member: a second opening finds nobody who holds it.
    const again = await openVolume([...(await imagesIn(directory)), image], {
      access: 'write',
      warn: () => undefined,
    });
    expect(again.array!.core.slots[0]!.member?.image).toBe(image);
    await again.close();
  });

  it('does not take from the manifest what was listed since the volume was opened', async () => {
    const { directory } = await makeVolume();
    const volume = await openForWriting(directory);
    const images = ['spare-1.img', 'spare-2.img'].map((name) => join(directory, name));
    for (const image of images) await addMember(volume, { image, replace: false, force: false });
    await volume.close();
    expect(await listed(directory)).toEqual([
      'member-0.img',
      'member-1.img',
      'member-2.img',
      'spare-1.img',
      'spare-2.img',
    ]);
  });
});

describe('a member that is removed', () => {
  it('may be named by any path that leads to it', async () => {
    const { directory } = await makeVolume();
    const volume = await openForWriting(directory);
    await failMember(volume.array!, 1);
    await volume.close();
    const again = await openForWriting(directory);
    await removeMember(again, { image: `${directory}/../${directory.split('/').at(-1)}/./member-1.img` });
    await again.close();
    expect(await listed(directory)).toEqual(['member-0.img', 'member-2.img']);
    expect((await stat(join(directory, 'member-1.img'))).isFile()).toBe(true);
  });
});

async function imagesIn(directory: string): Promise<string[]> {
  return ['member-1.img', 'member-2.img'].map((name) => join(directory, name));
}
