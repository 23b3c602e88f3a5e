/** Snapshots, as a user makes, reads and deletes them: at rest, on a served volume, and after its server was killed. */
import { existsSync } from 'node:fs';
import { open, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { filled, MIB, ONE, RAID } from '../support/backups.js';
import { ok, okQuietly, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { readAll } from '../support/volumes.js';

const LIMIT = { timeout: 90_000 };

async function readSnapshot(volume: string, name: string): Promise<Buffer> {
  const read = await runHoldfast(['read', volume, '--snapshot', name, '--output', '-']);
  expect(read.stderr).toBe('');
  return read.stdoutBytes;
}

async function writeAt(folder: string, volume: string, offset: number, byte: number): Promise<void> {
  const input = join(folder, 'input');
  await writeFile(input, new Uint8Array(300_000).fill(byte));
  await ok('write', volume, '--offset', String(offset), '--input', input);
}

async function names(volume: string): Promise<string[]> {
  const { snapshots } = await ok('snapshot', 'list', volume);
  return (snapshots as { name: string; state: string }[]).map(({ name, state }) => `${name} ${state}`);
}

describe.each([
  ['RAID-5', RAID],
  ['one image', ONE],
] as const)('snapshots on %s', (_, shape) => {
  it('hold what the volume held, each of them, whichever is deleted', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const held = new Map<string, Buffer>();
    for (const [at, name] of ['one', 'two', 'three'].entries()) {
      held.set(name, await readAll(volume));
      await ok('snapshot', 'create', volume, '--name', name);
      await writeAt(folder, volume, 100_000 * (at + 1), at + 1);
    }
    expect(await names(volume)).toEqual(['one good', 'two good', 'three good']);
    for (const [name, content] of held)
      expect(Buffer.compare(await readSnapshot(volume, name), content)).toBe(0);
    await ok('snapshot', 'delete', volume, '--name', 'two');
    await writeAt(folder, volume, 5 * MIB, 9);
    await ok('snapshot', 'delete', volume, '--name', 'three');
    await writeAt(folder, volume, 6 * MIB, 10);
    expect(await names(volume)).toEqual(['one good']);
    expect(Buffer.compare(await readSnapshot(volume, 'one'), held.get('one')!)).toBe(0);
    await ok('snapshot', 'delete', volume, '--name', 'one');
    expect((await readdir(join(volume, 'snapshots'))).filter((file) => file.endsWith('.kept'))).toEqual([]);
  });

  it('are exports beside the volume, and outlive its server', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const before = await readAll(volume);
    const served = await serve(folder, volume);
    const name = (await ok('status', volume)).name as string;
    await ok('snapshot', 'create', volume, '--name', 'a moment');
    const live = await NbdDevice.open(served.uri, { readOnly: false });
    await live.write(0, new Uint8Array(MIB).fill(7));
    await live.flush();
    const uri = served.uri.replace('///', `///${encodeURIComponent(`${name}@a moment`)}`);
    const snapshot = await NbdDevice.open(uri, { readOnly: true });
    const seen = Buffer.alloc(before.length);
    await snapshot.read(0, seen);
    expect(Buffer.compare(seen, before)).toBe(0);
    expect(await runJson(['snapshot', 'delete', volume, '--name', 'a moment'])).toMatchObject({
      exitCode: 11,
      json: { error: { code: 'IN_USE' } },
    });
    await snapshot.close();
    expect(Buffer.compare(await readSnapshot(volume, 'a moment'), before)).toBe(0);
    await live.write(MIB, new Uint8Array(MIB).fill(8), { fua: true });
    await served.stop('SIGKILL');
    await live.close().catch(() => {});
    await okQuietly('recover', volume);
    expect(await names(volume)).toEqual(['a moment good']);
    expect(Buffer.compare(await readSnapshot(volume, 'a moment'), before)).toBe(0);
    expect((await readAll(volume))[MIB]).toBe(8);
  });

  it('of which the container is gone are unusable, and say so', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const container = join(folder, 'elsewhere.kept');
    await ok('snapshot', 'create', volume, '--name', 'old');
    await ok('snapshot', 'create', volume, '--name', 'away', '--container', container);
    await ok('snapshot', 'create', volume, '--name', 'new');
    expect(existsSync(container)).toBe(true);
    await rm(container);
    const written = await runHoldfast(['write', volume, '--input', '-'], { input: Buffer.from('x') });
    expect(written.stderr).toContain('snapshot away is lost');
    const listed = await runJson(['snapshot', 'list', volume]);
    expect(listed.exitCode).toBe(3);
    // The one before needs what was kept there too.
    expect(listed.json.result).toMatchObject({
      snapshots: [{ state: 'unusable' }, { state: 'unusable' }, { name: 'new', state: 'good' }],
    });
    const read = await runJson(['read', volume, '--snapshot', 'away', '--output', join(folder, 'none')]);
    expect(read.json.error?.code).toBe('METADATA_DAMAGED');
    for (const name of ['old', 'away']) await ok('snapshot', 'delete', volume, '--name', name);
    expect(await names(volume)).toEqual(['new good']);
  });

  it(
    'that are dropped when their container is full do no harm to who writes, nor to older ones with room',
    LIMIT,
    async () => {
      const { folder, volume } = await filled(shape);
      const before = await readAll(volume);
      await ok('snapshot', 'create', volume, '--name', 'large');
      await ok(
        'snapshot',
        'create',
        volume,
        '--name',
        'small',
        '--on-overflow',
        'drop',
        '--container-size',
        '64KiB',
      );
      await writeAt(folder, volume, 0, 5).catch(() => {});
      expect(
        ((await runJson(['snapshot', 'list', volume])).json.result as { snapshots: unknown }).snapshots,
      ).toMatchObject([
        { name: 'large', state: 'good' },
        { name: 'small', state: 'unusable', reason: expect.stringContaining('full') },
      ]);
      expect((await readAll(volume)).subarray(0, 300_000).every((byte) => byte === 5)).toBe(true);
      expect(Buffer.compare(await readSnapshot(volume, 'large'), before)).toBe(0);
    },
  );

  it('whose names are taken, wrong or unknown are refused', LIMIT, async () => {
    const { volume } = await filled(shape);
    await ok('snapshot', 'create', volume, '--name', 'one');
    const code = async (...args: string[]) => (await runJson(args)).json.error?.code;
    expect(await code('snapshot', 'create', volume, '--name', 'one')).toBe('FILE_EXISTS');
    expect(await code('snapshot', 'create', volume, '--name', 'a@b')).toBe('USAGE');
    expect(await code('snapshot', 'create', volume, '--name', 'two', '--container', 'memory')).toBe('USAGE');
    expect(await code('snapshot', 'delete', volume, '--name', 'none')).toBe('FILE_NOT_FOUND');
    expect(await code('read', volume, '--snapshot', 'none', '--output', '-')).toBe('FILE_NOT_FOUND');
    expect(await names(volume)).toEqual(['one good']);
  });
});

describe('snapshots of an image that somebody else has changed', () => {
  it('are void, and stay so', LIMIT, async () => {
    const { folder, volume } = await filled(ONE);
    await ok('snapshot', 'create', volume, '--name', 'one');
    const image = await open(join(volume, 'disk.img'), 'r+');
    await image.write(Buffer.from('somebody else'), 0, 13, 0);
    await image.close();
    const listed = await runJson(['snapshot', 'list', volume]);
    expect(listed).toMatchObject({ exitCode: 3, json: { result: { snapshots: [{ state: 'unusable' }] } } });
    const written = await runHoldfast(['write', volume, '--input', '-'], { input: Buffer.from('x') });
    expect(written.stderr).toContain('somebody else has changed the image');
    await writeAt(folder, volume, 0, 5).catch(() => {});
    expect((await runJson(['snapshot', 'list', volume])).exitCode).toBe(3);
  });

  it('are good where it is only looked at', LIMIT, async () => {
    const { volume } = await filled(ONE);
    await ok('snapshot', 'create', volume, '--name', 'one');
    await readFile(join(volume, 'disk.img'));
    await utimes(volume, new Date(), new Date());
    for (const command of ['status', 'examine']) await runHoldfast([command, volume]);
    await runHoldfast(['fsck', volume, '-n']);
    expect(await names(volume)).toEqual(['one good']);
  });
});

it('a snapshot in memory is there as long as its server', LIMIT, async () => {
  const { folder, volume } = await filled(ONE);
  const before = await readAll(volume);
  const served = await serve(folder, volume);
  await ok(
    'snapshot',
    'create',
    volume,
    '--name',
    'passing',
    '--container',
    'memory',
    '--on-overflow',
    'fail',
  );
  await writeAt(folder, volume, 0, 3);
  expect(Buffer.compare(await readSnapshot(volume, 'passing'), before)).toBe(0);
  expect((await served.stop()).exitCode).toBe(0);
  expect(await names(volume)).toEqual([]);
});
