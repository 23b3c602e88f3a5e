/** Images that come and go as members of a volume, through the volume itself. */
import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ImageFile } from '../../src/device/image-file.js';
import { interpose } from '../../src/device/open-image.js';
import { failMember } from '../../src/raid/membership.js';
import { addMember, createVolume, openVolume, removeMember, type Volume } from '../../src/volume/index.js';
import { MANIFEST_NAME } from '../../src/volume/manifest.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
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

describe('an image of an open volume', () => {
  it('that failed by itself is removed without another word to it, and comes in anew', async () => {
    const { directory, images } = await makeVolume();
    const image = images[1]!;
    const devices: FaultyDevice[] = [];
    const stop = interpose((opened) => {
      if (opened.name !== image) return opened;
      devices.push(new FaultyDevice(opened));
      return devices.at(-1)!;
    });
    onTestFinished(stop);
    const volume = await openForWriting(directory);
    const broken = devices.at(-1)!;
    broken.addRule({ operations: ['write'] });
    await volume.device.write(0, new Uint8Array(262144).fill(1));
    await volume.device.flush();
    broken.addRule({});
    const before = { ...broken.counts };
    expect(await removeMember(volume, { slot: 1 })).toEqual({ image, slot: 1, state: 'faulty' });
    expect(broken.counts).toEqual(before);
    await (await ImageFile.open(image, { readOnly: false })).close();
    await addMember(volume, { image, replace: false, force: false });
    expect(devices.at(-1)).not.toBe(broken);
    await volume.close();
    const { members, slots } = await judgedAnew(directory);
    expect(slots.map(({ state }) => state)).toEqual(['in-sync', 'in-sync', 'in-sync']);
    expect(members).toHaveLength(3);
  });

  it('that could not become a member is let go when it is tried again', async () => {
    const { directory } = await makeVolume();
    const volume = await openForWriting(directory);
    await failMember(volume.array!, 0);
    const image = join(folder, `slow-${count}.img`);
    const stop = interpose((opened) =>
      opened.name === image
        ? new FaultyDevice(opened, { rules: [{ operations: ['write'], nth: 1 }] })
        : opened,
    );
    const wanted = { image, replace: false, force: false };
    await expect(addMember(volume, wanted)).rejects.toMatchObject({ code: 'IO_ERROR' });
    stop();
    expect(await addMember(volume, wanted)).toMatchObject({ slot: 0 });
    await volume.close();
  });

  it('that was to replace a member and failed makes room for another', async () => {
    const { directory } = await makeVolume();
    const volume = await openForWriting(directory);
    await volume.device.write(0, new Uint8Array(262144).fill(1));
    const [broken, good] = ['broken', 'good'].map((name) => join(folder, `${name}-${count}.img`));
    const stop = interpose((opened) =>
      opened.name === broken
        ? new FaultyDevice(opened, {
            rules: [{ operations: ['write'], range: { offset: 1048576, length: 4096 } }],
          })
        : opened,
    );
    const replace = (image: string) => addMember(volume, { image, slot: 2, replace: true, force: false });
    await expect(replace(broken!)).rejects.toMatchObject({ code: 'IO_ERROR' });
    stop();
    expect(await replace(good!)).toMatchObject({ slot: 2, image: good });
    const removed = [await removeMember(volume, { slot: 2 }), await removeMember(volume, { slot: 2 })];
    expect(new Set(removed.map(({ image }) => image))).toEqual(
      new Set([broken, join(directory, 'member-2.img')]),
    );
    await expect(removeMember(volume, { slot: 2 })).rejects.toMatchObject({ code: 'REFUSED' });
    await volume.close();
    expect(await listed(directory)).toEqual(['member-0.img', 'member-1.img', good]);
  });
});

async function judgedAnew(directory: string) {
  const volume = await openVolume([directory], { access: 'read', warn: () => undefined });
  await volume.close();
  return volume.judgement!;
}

async function imagesIn(directory: string): Promise<string[]> {
  return ['member-1.img', 'member-2.img'].map((name) => join(directory, name));
}
