/**
 * What must not be believed: snapshots of volumes that were written by somebody who had not their list, or made anew, or put back; and
 * that lists of volumes which could not be opened, or whose list is damaged, cost nothing.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { interpose } from '../../src/device/open-image.js';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { openVolume } from '../../src/volume/index.js';
import { filled, MIB, ONE, RAID } from '../support/backups.js';
import { unpackArray } from '../support/md-fixtures.js';
import { ok, okQuietly, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, readAll } from '../support/volumes.js';

const LIMIT = { timeout: 90_000 };
const SHAPES = [
  ['RAID-5', RAID],
  ['one image', ONE],
] as const;

const listOf = (volume: string) => join(volume, 'snapshots', 'snapshots.json');

async function isOpen(volume: string): Promise<boolean> {
  return (JSON.parse(await readFile(listOf(volume), 'utf8')) as { isOpen: boolean }).isOpen;
}

async function states(volume: string): Promise<string[]> {
  const { json } = await runJson(['snapshot', 'list', volume]);
  const { snapshots } = json.result as { snapshots: { name: string; state: string }[] };
  return snapshots.map(({ name, state }) => `${name} ${state}`);
}

/** It is written while it is served, and the server is killed. */
async function crash(folder: string, volume: string): Promise<void> {
  const served = await serve(folder, volume);
  await writeFile(join(folder, 'more'), randomBytes(MIB));
  await ok('write', volume, '--offset', '0', '--input', join(folder, 'more'));
  await served.stop('SIGKILL');
}

describe('snapshots of an array whose members were written by their names elsewhere', () => {
  async function elsewhere(folder: string, volume: string): Promise<string[]> {
    const other = join(folder, 'elsewhere');
    await mkdir(other);
    const images = [0, 1, 2].map((slot) => `member-${slot}.img`);
    for (const image of images) await link(join(volume, image), join(other, image));
    return images.map((image) => join(other, image));
  }

  async function writeThere(members: readonly string[]): Promise<void> {
    const written = await runHoldfast(['write', ...members, '--input', '-'], { input: randomBytes(9000) });
    expect(written.stderr).not.toContain('Error');
    expect(written.exitCode).toBe(0);
  }

  it('are void after a clean end', LIMIT, async () => {
    const { folder, volume } = await filled(RAID);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await writeThere(await elsewhere(folder, volume));
    expect(await states(volume)).toEqual(['one unusable']);
  });

  it('are void after a crash too', LIMIT, async () => {
    const { folder, volume } = await filled(RAID);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await crash(folder, volume);
    expect(await states(volume)).toEqual(['one good']);
    await writeThere(await elsewhere(folder, volume));
    expect(await states(volume)).toEqual(['one unusable']);
  });

  it('are good where they were recovered here', LIMIT, async () => {
    const { folder, volume } = await filled(RAID);
    const before = await readAll(volume);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await crash(folder, volume);
    await okQuietly('recover', volume);
    await crash(folder, volume);
    await okQuietly('recover', volume);
    expect(await states(volume)).toEqual(['one good']);
    const read = await runHoldfast(['read', volume, '--snapshot', 'one', '--output', '-']);
    expect(Buffer.compare(read.stdoutBytes, before)).toBe(0);
  });
});

describe('an array that md wrote last', () => {
  it('is backed up at rest without a mark, and is not written for one', LIMIT, async () => {
    const { directory, remove } = unpackArray('clean-left-symmetric');
    const set = `${join(await temporaryFolder(), 'set')}/`;
    const before = await contentOf(directory);
    const backUp = (...flags: string[]) =>
      runJson(['backup', 'create', directory, '--output', set, ...flags]);
    const first = await backUp('--name', 'first');
    expect(first.json.error).toBeUndefined();
    expect(first.json.warnings.join()).toContain("has not written to it since Linux's md has");
    expect(await contentOf(directory)).toEqual(before);
    remove();
  });

  it('gets a stamp before its first snapshot, which is good after a crash', LIMIT, async () => {
    const { directory, remove } = unpackArray('clean-left-symmetric');
    const folder = await temporaryFolder();
    await ok('snapshot', 'create', directory, '--name', 'one');
    expect(await states(directory)).toEqual(['one good']);
    await crash(folder, directory);
    expect(await states(directory)).toEqual(['one good']);
    remove();
  });
});

describe('an image that is known by another name', () => {
  it('has the snapshots of the one that the name stands for', LIMIT, async () => {
    const { folder } = await filled(ONE);
    const image = join(folder, 'disk.img');
    await writeFile(image, randomBytes(4 * MIB));
    const before = await readFile(image);
    await ok('snapshot', 'create', image, '--name', 'one');
    await symlink(image, join(folder, 'name.img'));
    await ok('write', join(folder, 'name.img'), '--offset', '0', '--input', join(folder, 'content'));
    expect(await states(image)).toEqual(['one good']);
    const read = await runHoldfast(['read', image, '--snapshot', 'one', '--output', '-']);
    expect(Buffer.compare(read.stdoutBytes, before)).toBe(0);
  });
});

describe.each(SHAPES)('snapshots on %s', (_, shape) => {
  it('are gone where a new volume is made in its place, though the old one had crashed', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await crash(folder, volume);
    const refused = await runJson(['create', volume, ...shape]);
    expect(refused.json.error).toBeDefined();
    expect(await states(volume)).toEqual(['one good']);
    await ok('create', volume, ...shape, '--force', '--yes');
    expect(await states(volume)).toEqual([]);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await ok('write', volume, '--offset', '0', '--input', join(folder, 'more'));
    const read = await runHoldfast(['read', volume, '--snapshot', 'one', '--output', '-']);
    expect(read.stdoutBytes.every((byte) => byte === 0)).toBe(true);
  });

  it('are as they were where the volume cannot be opened', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    await ok('snapshot', 'create', volume, '--name', 'one');
    const list = JSON.parse(await readFile(listOf(volume), 'utf8')) as unknown;
    await mkdir(join(volume, 'replication'), { recursive: true });
    await writeFile(join(volume, 'replication', 'replicas.json'), '{');
    const write = ['write', volume, '--offset', '0', '--input', join(folder, 'content')];
    expect((await runJson(write)).json.error?.code).toBe('METADATA_DAMAGED');
    expect(JSON.parse(await readFile(listOf(volume), 'utf8'))).toEqual(list);
  });

  it('whose list is damaged keep nobody from reading the volume', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const before = await readAll(volume);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await writeFile(listOf(volume), '{');
    const read = await runHoldfast(['read', volume, '--output', '-']);
    expect(read.exitCode).toBe(0);
    expect(Buffer.compare(read.stdoutBytes, before)).toBe(0);
    expect(read.stderr).toContain('snapshots.json is not a list of snapshots');
    const code = async (...args: string[]) => (await runJson(args)).json.error?.code;
    expect(await code('read', volume, '--snapshot', 'one', '--output', '-')).toBe('METADATA_DAMAGED');
    expect(await code('snapshot', 'list', volume)).toBe('METADATA_DAMAGED');
    expect(await code('write', volume, '--input', join(folder, 'content'))).toBe('METADATA_DAMAGED');
    // A backup in a set would begin a list, to note what is changed from then on.
    const backup = await runJson(['backup', 'create', volume, '--output', `${join(folder, 'set')}/`]);
    expect(backup.json.error).toBeUndefined();
    expect(backup.json.warnings.join()).toContain('what is changed from now on is not noted');
    expect(await readFile(listOf(volume), 'utf8')).toBe('{');
    const served = await serve(folder, volume, ['--read-only']);
    const device = await NbdDevice.open(served.uri, { readOnly: true });
    const seen = Buffer.alloc(before.length);
    await device.read(0, seen);
    expect(Buffer.compare(seen, before)).toBe(0);
    await device.close();
    await served.stop();
  });

  it('have their list closed while the images are locked', LIMIT, async () => {
    const { volume } = await filled(shape);
    await ok('snapshot', 'create', volume, '--name', 'one');
    const seen: boolean[] = [];
    const remove = interpose((image, { readOnly }) => {
      if (readOnly || !image.name.endsWith('.img')) return image;
      const close = image.close.bind(image);
      return Object.assign(image, {
        close: async () => {
          seen.push(await isOpen(volume));
          await close();
        },
      });
    });
    try {
      const opened = await openVolume([volume], { access: 'write', warn: () => {} });
      await opened.device.write(0, new Uint8Array(4096).fill(1));
      expect(await isOpen(volume)).toBe(true);
      await opened.close();
    } finally {
      remove();
    }
    expect(seen.length).toBeGreaterThan(0);
    expect(seen).not.toContain(true);
    expect(await states(volume)).toEqual(['one good']);
  });

  it('are told as they are while somebody has the volume open for reading', LIMIT, async () => {
    const { volume } = await filled(shape);
    await ok('snapshot', 'create', volume, '--name', 'one');
    // As somebody else's write would have it.
    const list = await readFile(listOf(volume), 'utf8');
    const changed = list.replace(/"(events|changedNs)": "\d+"/, '"$1": "1"');
    await writeFile(listOf(volume), changed);
    const reader = await openVolume([volume], { access: 'read', warn: () => {} });
    const { json } = await runJson(['status', volume]);
    await reader.close();
    expect(json.result).toMatchObject({ snapshots: [{ name: 'one', state: 'unusable' }] });
  });
});

describe('fsck --revert', () => {
  it('puts back a repair of an array with snapshots, which are void then', LIMIT, async () => {
    const { folder, volume } = await filled(RAID);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await crash(folder, volume);
    const undo = join(folder, 'undo');
    const member = () => readFile(join(volume, 'member-0.img'));
    const before = await member();
    const repaired = await runJson(['fsck', '-p', '--undo', undo, volume]);
    expect(repaired.exitCode).toBe(1);
    expect(await states(volume)).toEqual(['one good']);
    const reverted = await runJson(['fsck', '--revert', undo, volume]);
    expect(reverted.json.error).toBeUndefined();
    expect(Buffer.compare(await member(), before)).toBe(0);
    expect(await states(volume)).toEqual(['one unusable']);
  });

  it('is refused where replicas would not hear of it', LIMIT, async () => {
    const { folder, volume } = await filled(RAID);
    await crash(folder, volume);
    const undo = join(folder, 'undo');
    const args = ['--name', 'r', '--to', join(folder, 'replica.img')];
    await okQuietly('replica', 'add', volume, ...args);
    await crash(folder, volume);
    expect((await runJson(['fsck', '-p', '--undo', undo, volume])).exitCode).toBe(1);
    const revert = () => runJson(['fsck', '--revert', undo, volume]);
    expect((await revert()).json.error).toMatchObject({ code: 'REFUSED' });
    await ok('replica', 'remove', volume, '--name', 'r', '--yes');
    expect((await revert()).json.error).toBeUndefined();
  });
});
