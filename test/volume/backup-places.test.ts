/** Where a backup keeps what is overwritten, and where it goes: containers of all kinds, exports, and volumes of files as its source. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { isInstalled } from '../nbd/client/servers.js';
import { BLOCK_BYTES, filled, MIB, ONE, RAID } from '../support/backups.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { readAll } from '../support/volumes.js';

describe('a container', { timeout: 60_000 }, () => {
  it('in a range of the volume is in no backup', async () => {
    const { folder, volume } = await filled(ONE, 20 * MIB);
    const server = await serve(folder, volume);
    const client = await NbdDevice.open(server.uri, { readOnly: false });
    const image = join(folder, 'copy.img');
    const run = ok(
      'backup',
      'create',
      volume,
      '--output',
      image,
      '--container',
      'range:31MiB+1MiB',
      '--rate',
      '64MiB',
    );
    await wait(100);
    for (let n = 0; n < 20; n++) await client.write(n * 3 * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await run;
    const content = await readFile(image);
    expect(content.subarray(31 * MIB).every((byte) => byte === 0)).toBe(true);
    expect(content.length).toBe(32 * MIB);
    await client.close();
    await server.stop();
  });

  it.each([
    ['range:1+4096', /whole blocks/],
    ['range:31MiB+2MiB', /whole blocks/],
    ['range:5', /no range of the volume/],
  ])('that cannot be (%s) is refused', async (container, why) => {
    const { folder, volume } = await filled(ONE);
    const server = await serve(folder, volume);
    const image = join(folder, 'copy.img');
    const refused = await runJson(['backup', 'create', volume, '--output', image, '--container', container]);
    expect(refused).toMatchObject({ exitCode: 2, json: { error: { message: expect.stringMatching(why) } } });
    expect(existsSync(`${image}.incomplete`)).toBe(false);
    await server.stop();
  });

  it('in a range that is in use is refused, and nothing there is touched', async () => {
    const { folder, volume } = await filled(ONE);
    const before = await readAll(volume);
    const server = await serve(folder, volume);
    const image = join(folder, 'copy.img');
    const refused = await runJson([
      'backup',
      'create',
      volume,
      '--output',
      image,
      '--container',
      'range:1MiB+1MiB',
    ]);
    expect(refused).toMatchObject({
      exitCode: 1,
      json: { error: { code: 'REFUSED', details: { offsetBytes: MIB } } },
    });
    expect(existsSync(image)).toBe(false);
    await server.stop();
    expect(Buffer.compare(await readAll(volume), before)).toBe(0);
  });

  it('does not make writes fail that a cache has answered', async () => {
    const { folder, volume } = await filled(RAID);
    const server = await serve(folder, volume);
    const image = join(folder, 'copy.img');
    const refused = await runJson(['backup', 'create', volume, '--output', image, '--on-overflow', 'fail']);
    expect(refused).toMatchObject({ exitCode: 1, json: { error: { code: 'UNSUPPORTED' } } });
    await server.stop();
  });

  it('that is there already is not overwritten', async () => {
    const { folder, volume } = await filled(ONE);
    const server = await serve(folder, volume);
    const container = join(folder, 'container');
    await writeFile(container, 'somebody else');
    const refused = await runJson([
      ...['backup', 'create', volume, '--output', join(folder, 'copy.img')],
      ...['--container', container],
    ]);
    expect(refused).toMatchObject({ exitCode: 1, json: { error: { code: 'NOT_BLANK' } } });
    expect(await readFile(container, 'utf8')).toBe('somebody else');
    await server.stop();
  });
});

describe('an export as the target', { timeout: 60_000 }, () => {
  it('is the volume at its moment, and refused where it is not blank or too small', async () => {
    const { folder, volume } = await filled(RAID);
    const other = join(folder, 'other');
    await ok('create', other, '--members', '1', '--size', '40MiB');
    const target = await serve(join(folder, 'other'), other);
    await ok('backup', 'create', volume, '--output', target.uri);
    const again = await runJson(['backup', 'create', volume, '--output', target.uri]);
    expect(again).toMatchObject({ json: { error: { code: 'NOT_BLANK' } } });
    await ok('backup', 'create', volume, '--output', target.uri, '--force', '--yes');
    const expected = await readAll(volume);
    expect(Buffer.compare((await readAll(other)).subarray(0, expected.length), expected)).toBe(0);
    await target.stop();
    const small = join(folder, 'small');
    await ok('create', small, '--members', '1', '--size', '4MiB');
    const tooSmall = await serve(small, small);
    expect(await runJson(['backup', 'create', volume, '--output', tooSmall.uri])).toMatchObject({
      json: { error: { code: 'REFUSED' } },
    });
    await tooSmall.stop();
  });

  it.runIf(isInstalled('qemu-nbd') && isInstalled('qemu-img'))('gives qcow2 by qemu-nbd', async () => {
    const { execFileSync, spawn } = await import('node:child_process');
    const { folder, volume } = await filled(RAID);
    const [image, socket, raw] = [
      join(folder, 'copy.qcow2'),
      join(folder, 'qemu.sock'),
      join(folder, 'copy.raw'),
    ];
    const expected = await readAll(volume);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', image, String(expected.length)]);
    const child = spawn('qemu-nbd', ['-f', 'qcow2', '-k', socket, '-t', image], { stdio: 'ignore' });
    try {
      for (let tries = 0; !existsSync(socket) && tries < 200; tries++) await wait(25);
      await ok('backup', 'create', volume, '--output', `nbd+unix:///?socket=${socket}`);
    } finally {
      child.kill();
      await new Promise((resolve) => child.once('exit', resolve));
    }
    execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', image, raw]);
    expect(Buffer.compare(await readFile(raw), expected)).toBe(0);
  });
});

describe('a target', { timeout: 60_000 }, () => {
  it.each(['--output', '--container'])(
    'in a folder that is not there (%s) is told by its name',
    async (flag) => {
      const { folder, volume } = await filled(ONE);
      const missing = join(folder, 'no', 'such');
      const server = await serve(folder, volume);
      const places = { '--output': join(folder, 'copy.img'), '--container': 'memory', [flag]: missing };
      const refused = await runJson(['backup', 'create', volume, ...Object.entries(places).flat()]);
      expect(refused).toMatchObject({
        exitCode: 1,
        json: { error: { message: expect.stringMatching(/no\/such: /) } },
      });
      expect(existsSync(join(folder, 'copy.img.incomplete'))).toBe(false);
      await server.stop();
    },
  );

  it('that is silent is given up as soon as somebody wants that', async () => {
    const { folder, volume } = await filled(ONE);
    const other = join(folder, 'other');
    await ok('create', other, '--members', '1', '--size', '40MiB');
    const silent = await serve(other, other);
    silent.child.kill('SIGSTOP');
    let interrupt!: () => void;
    const running = runJson(['backup', 'create', volume, '--output', silent.uri], {
      onStart: (child) => {
        interrupt = () => child.kill('SIGINT');
      },
    });
    await wait(1500);
    interrupt();
    expect(await running).toMatchObject({ exitCode: 130 });
    silent.child.kill('SIGCONT');
    await silent.stop();
  });
});

describe('a volume of files', { timeout: 120_000 }, () => {
  it('is backed up as it is at the last commit of every file, without its free extents', async () => {
    const folder = await temporaryFolder();
    const volume = join(folder, 'v');
    await ok('create', volume, '--format', 'extents', '--members', '3', '--size', '64MiB');
    await writeFile(join(folder, 'a'), randomBytes(5 * MIB));
    await ok('file', 'import', volume, 'a', '--input', join(folder, 'a'));
    await ok('file', 'import', volume, 'gone', '--input', join(folder, 'a'));
    await ok('file', 'remove', volume, 'gone', '--yes');
    const server = await serve(folder, volume, ['--export', 'a']);
    const client = await NbdDevice.open(server.uri, { readOnly: false });
    await client.write(0, Buffer.alloc(BLOCK_BYTES, 1));
    await client.flush();
    // Not committed: it is in no backup.
    await client.write(0, Buffer.alloc(BLOCK_BYTES, 2));
    const image = join(folder, 'copy.img');
    const made = await ok('backup', 'create', volume, '--output', image);
    expect(made.copiedBytes).toBeLessThan(9 * MIB);
    await client.close();
    await server.stop();
    await runHoldfast(['file', 'export', image, 'a', '--output', join(folder, 'back')]);
    const expected = await readFile(join(folder, 'a'));
    expected.fill(1, 0, BLOCK_BYTES);
    expect(Buffer.compare(await readFile(join(folder, 'back')), expected)).toBe(0);
    expect((await runHoldfast(['fsck', image, '-n'])).exitCode).toBe(0);
  });
});
