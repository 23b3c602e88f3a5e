/** A filesystem without room for a snapshot's container, or that has become read only: the snapshot is lost, and the writer goes on. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { filled, MIB, ONE, RAID } from '../support/backups.js';
import { ok, okQuietly, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { notTested, readAll } from '../support/volumes.js';

const LIMIT = { timeout: 120_000 };
const folder = await temporaryFolder();
const mounted = join(folder, 'mounted');
let isMounted = false;

beforeAll(async () => {
  await mkdir(mounted);
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', mounted]);
  isMounted = mount.status === 0;
  if (!isMounted) notTested('a full disk under a container', `cannot mount: ${String(mount.stderr)}`);
});

afterAll(() => {
  if (isMounted) execFileSync('umount', [mounted]);
});

function whereMounted(name: string, body: () => Promise<void>): void {
  it(name, LIMIT, async () => {
    if (isMounted) await body();
  });
}

async function states(volume: string): Promise<string[]> {
  const { json } = await runJson(['snapshot', 'list', volume]);
  const { snapshots } = json.result as { snapshots: { name: string; state: string; reason?: string }[] };
  return snapshots.map(({ name, state, reason }) => `${name} ${state}${reason ? `: ${reason}` : ''}`);
}

async function expectLost(volume: string, name: string): Promise<void> {
  expect((await runJson(['snapshot', 'list', volume])).exitCode).toBe(3);
  const read = await runJson(['read', volume, '--snapshot', name, '--output', join(folder, 'none')]);
  expect(read.json.error?.code).toBe('METADATA_DAMAGED');
}

describe.each([
  ['RAID-5', RAID],
  ['one image', ONE],
] as const)('a container of %s on a disk that is full', (shape, flags) => {
  const container = join(mounted, `${shape}.kept`);

  whereMounted('is given up while the volume is served and written, and no write fails', async () => {
    const { folder: own, volume } = await filled(flags, 12 * MIB);
    await ok('snapshot', 'create', volume, '--name', 'older');
    await ok('snapshot', 'create', volume, '--name', 'away', '--container', container);
    const served = await serve(own, volume);
    const client = await NbdDevice.open(served.uri, { readOnly: false });
    const written = randomBytes(10 * MIB);
    for (let at = 0; at < written.length; at += MIB) {
      await client.write(MIB + at, written.subarray(at, at + MIB));
      await client.flush();
    }
    // The older one needs what was to be kept there.
    expect(await states(volume)).toEqual([
      expect.stringContaining('older unusable'),
      expect.stringMatching(/^away unusable: .*(full|space)/i),
    ]);
    expect(existsSync(container)).toBe(false);
    await ok('snapshot', 'create', volume, '--name', 'newer');
    await client.write(0, randomBytes(MIB), { fua: true });
    await served.stop('SIGKILL');
    await client.close().catch(() => {});
    await okQuietly('recover', volume);
    await expectLost(volume, 'away');
    expect((await states(volume)).at(-1)).toBe('newer good');
    expect(Buffer.compare((await readAll(volume)).subarray(MIB, 11 * MIB), written)).toBe(0);
    for (const name of ['older', 'away']) await ok('snapshot', 'delete', volume, '--name', name);
    expect(await states(volume)).toEqual(['newer good']);
  });

  whereMounted('says so to who writes at rest, and is good again with another', async () => {
    const { folder: own, volume } = await filled(flags, 12 * MIB);
    await ok('snapshot', 'create', volume, '--name', 'away', '--container', container);
    const input = join(own, 'written');
    const written = randomBytes(8 * MIB);
    await writeFile(input, written);
    const write = await runHoldfast(['write', volume, '--offset', String(MIB), '--input', input]);
    expect(write).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('snapshot away is lost') });
    await expectLost(volume, 'away');
    expect(Buffer.compare((await readAll(volume)).subarray(MIB, 9 * MIB), written)).toBe(0);
    await ok('snapshot', 'create', volume, '--name', 'again', '--container', container);
    const small = { input: Buffer.from('a few bytes') };
    expect((await runHoldfast(['write', volume, '--input', '-'], small)).exitCode).toBe(0);
    expect((await states(volume)).at(-1)).toBe('again good');
    for (const name of ['away', 'again']) await ok('snapshot', 'delete', volume, '--name', name);
    expect(await readdir(mounted)).toEqual([]);
  });
});

describe('a disk that is full under the volume and all that is beside it', () => {
  whereMounted('costs the snapshot, of which not even the list can say so, and no write', async () => {
    const volume = join(mounted, 'v');
    await ok('create', volume, '--members', '1', '--size', '2MiB');
    const input = join(folder, 'all');
    await writeFile(input, randomBytes(2 * MIB));
    await ok('write', volume, '--input', input);
    await ok('snapshot', 'create', volume, '--name', 'one');
    const filler = await open(join(mounted, 'filler'), 'w');
    const fill = async () => {
      for (;;) await filler.write(new Uint8Array(4096));
    };
    // Room for some blocks.
    await filler.write(new Uint8Array(MIB));
    await expect(fill()).rejects.toMatchObject({ code: 'ENOSPC' });
    await filler.truncate((await filler.stat()).size - 100 * 1024);
    await filler.close();
    const written = randomBytes(2 * MIB);
    await writeFile(input, written);
    const write = await runHoldfast(['write', volume, '--input', input]);
    expect(write).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('snapshot one is lost') });
    expect(Buffer.compare(await readAll(volume), written)).toBe(0);
    await expectLost(volume, 'one');
    await okQuietly('snapshot', 'delete', volume, '--name', 'one');
    execFileSync('rm', ['-r', volume, join(mounted, 'filler')]);
  });
});

describe('a disk that has become read only under a container', () => {
  const container = join(mounted, 'c.kept');
  const remount = (how: string) => execFileSync('mount', ['-o', `remount,${how}`, mounted]);

  whereMounted('costs the snapshot, and no write', async () => {
    const { volume } = await filled(ONE);
    await ok('snapshot', 'create', volume, '--name', 'away', '--container', container);
    remount('ro');
    try {
      const write = await runHoldfast(['write', volume, '--input', '-'], { input: Buffer.from('x') });
      expect(write).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('snapshot away is lost') });
      await expectLost(volume, 'away');
      await ok('snapshot', 'delete', volume, '--name', 'away');
    } finally {
      remount('rw');
      execFileSync('rm', ['-f', container]);
    }
  });

  whereMounted('fails no opening of a volume that somebody else has changed', async () => {
    const { volume } = await filled(ONE);
    await ok('snapshot', 'create', volume, '--name', 'away', '--container', container);
    const image = await open(join(volume, 'disk.img'), 'r+');
    await image.write(Buffer.from('somebody else'), 0, 13, 0);
    await image.close();
    remount('ro');
    try {
      const write = await runHoldfast(['write', volume, '--input', '-'], { input: Buffer.from('x') });
      expect(write).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('snapshot away is lost') });
      expect(write.stderr).toContain(`is left over: ${container}`);
      await ok('snapshot', 'delete', volume, '--name', 'away');
    } finally {
      remount('rw');
      execFileSync('rm', ['-f', container]);
    }
  });

  whereMounted('refuses no delete: what is left over is told', async () => {
    const { volume } = await filled(ONE);
    await ok('snapshot', 'create', volume, '--name', 'away', '--container', container);
    remount('ro');
    try {
      const deleted = await runHoldfast(['snapshot', 'delete', volume, '--name', 'away']);
      expect(deleted).toMatchObject({ exitCode: 0, stderr: expect.stringContaining(container) });
      expect(await states(volume)).toEqual([]);
    } finally {
      remount('rw');
      execFileSync('rm', ['-f', container]);
    }
  });
});
