/** Creating a volume, where something goes wrong between the look and the end. */
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createVolume } from '../../src/volume/index.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const BYTES = 2 * 1024 * 1024;
let count = 0;

/** What another process does after each look of ours into an image. */
const others = vi.hoisted(() => ({ afterLook: (_image: string): Promise<void> => Promise.resolve() }));

vi.mock('../../src/volume/blank.js', async (original) => {
  const real = await original<typeof import('../../src/volume/blank.js')>();
  const firstContent: typeof real.firstContent = async (device) => {
    const found = await real.firstContent(device);
    await others.afterLook(device.name);
    return found;
  };
  return { ...real, firstContent };
});

afterEach(() => {
  others.afterLook = () => Promise.resolve();
});

async function blankImages(): Promise<{ directory: string; images: string[] }> {
  const place = join(folder, `case-${count++}`);
  await mkdir(place);
  const images = ['a.img', 'b.img', 'c.img'].map((name) => join(place, name));
  for (const image of images) {
    const file = await open(image, 'w');
    await file.truncate(BYTES);
    await file.close();
  }
  return { directory: join(place, 'volume'), images };
}

const shape = {
  members: 3,
  sizeBytes: 1024 * 1024,
  chunkBytes: 65536,
  layout: 'left-symmetric',
  force: false,
};

async function isBlank(image: string): Promise<boolean> {
  return (await readFile(image)).every((byte) => byte === 0);
}

describe('create', () => {
  it('does not overwrite what came into an image after it had looked', async () => {
    const { directory, images } = await blankImages();
    const text = 'another process was faster';
    others.afterLook = async (image) => {
      if (image !== images[2]) return;
      const file = await open(images[0]!, 'r+');
      await file.write(text, 4096);
      await file.close();
    };
    await expect(createVolume({ ...shape, directory, images })).rejects.toMatchObject({
      code: 'NOT_BLANK',
      details: { image: images[0] },
    });
    expect((await readFile(images[0]!)).toString('latin1', 4096, 4096 + text.length)).toBe(text);
    expect(await isBlank(images[1]!)).toBe(true);
  });

  it('that fails at its end leaves images that were there as they were, and nothing else', async () => {
    const { directory, images } = await blankImages();
    // The manifest cannot be written.
    await mkdir(join(directory, 'holdfast.json.new', 'in the way'), { recursive: true });
    await expect(createVolume({ ...shape, directory, images })).rejects.toMatchObject({ name: 'UserError' });
    for (const image of images) expect(await isBlank(image), image).toBe(true);
    await expect(createVolume({ ...shape, directory })).rejects.toMatchObject({ name: 'UserError' });
    expect(await readdir(directory)).toEqual(['holdfast.json.new']);
  });

  it('of a name that something else has leaves that alone', async () => {
    const { directory } = await blankImages();
    await mkdir(directory);
    await writeFile(join(directory, 'member-1.img'), 'mine');
    await expect(createVolume({ ...shape, directory })).rejects.toMatchObject({ code: 'REFUSED' });
    expect(await readdir(directory)).toEqual(['member-1.img']);
    expect(await readFile(join(directory, 'member-1.img'), 'utf8')).toBe('mine');
  });
});
