/** Files of a volume as disks, and the commands that act through their server. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const KIB = 1024;

async function newVolume(): Promise<{ folder: string; volume: string }> {
  const folder = await temporaryFolder();
  const volume = join(folder, 'v');
  const made = await runHoldfast([
    'create',
    volume,
    '--format',
    'extents',
    '--members',
    '1',
    '--size',
    '24MiB',
  ]);
  expect(made).toMatchObject({ exitCode: 0, stderr: '' });
  for (const name of ['first', 'second'])
    await runHoldfast(['file', 'create', volume, name, '--size', '2MiB']);
  return { folder, volume };
}

function uriOf(uri: string, name: string): string {
  return uri.replace(/\/[^/?]*\?/, `/${name}?`);
}

describe('files that are served', { timeout: 240_000 }, () => {
  it('are disks of their own names, the first one of the empty name too', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const [first, second, unnamed] = await Promise.all(
      ['first', 'second', ''].map((name) => NbdDevice.open(uriOf(served.uri, name), { readOnly: false })),
    );
    expect([first!.size, second!.size, unnamed!.size]).toEqual([2048 * KIB, 2048 * KIB, 2048 * KIB]);
    const bytes = randomBytes(100 * KIB);
    await first!.write(512 * 5, bytes);
    await first!.flush();
    const back = new Uint8Array(bytes.length);
    await unnamed!.read(512 * 5, back);
    expect(Buffer.compare(back, bytes)).toBe(0);
    await second!.read(512 * 5, back);
    expect(back.every((byte) => byte === 0)).toBe(true);
    await Promise.all([first, second, unnamed].map((device) => device!.close()));
    expect((await served.stop()).exitCode).toBe(0);
    const read = await runHoldfast([
      'file',
      'read',
      volume,
      'first',
      '--offset',
      '2560',
      '--length',
      '100KiB',
    ]);
    expect(Buffer.compare(read.stdoutBytes, bytes)).toBe(0);
  });

  it('are what they were at the last flush when the server is killed', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const device = await NbdDevice.open(served.uri, { readOnly: false });
    const [kept, lost] = [randomBytes(300 * KIB), randomBytes(300 * KIB)];
    await device.write(0, kept);
    await device.flush();
    await device.write(0, lost);
    await device.write(600 * KIB, lost);
    await served.stop('SIGKILL');
    await device.close().catch(() => undefined);
    await runHoldfast(['recover', volume]);
    const { stdoutBytes } = await runHoldfast(['file', 'read', volume, 'first']);
    expect(Buffer.compare(stdoutBytes.subarray(0, kept.length), kept)).toBe(0);
    expect(stdoutBytes.subarray(kept.length).every((byte) => byte === 0)).toBe(true);
    expect((await runJson(['fsck', volume, '-n'])).json).toMatchObject({
      exitCode: 0,
      result: { findings: [] },
    });
  });

  it('are not taken for the bytes of the volume', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const input = join(folder, 'input');
    await writeFile(input, randomBytes(8 * KIB));
    for (const args of [
      ['read', volume],
      ['read', volume, '--as-raw'],
      ['write', volume, '--input', input],
    ]) {
      const { exitCode, stdout, stderr } = await runHoldfast(args);
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
      expect(stderr).toContain('holds files');
    }
    const { stdoutBytes } = await runHoldfast(['file', 'read', volume, 'first']);
    expect(stdoutBytes.every((byte) => byte === 0)).toBe(true);
    expect((await served.stop()).exitCode).toBe(0);
  });

  it('come, go and are read and written through their server', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume, ['--export', 'second']);
    const input = join(folder, 'input');
    // No whole sectors: as a disk it has all of its bytes all the same.
    const size = 70 * KIB + 77;
    await writeFile(input, randomBytes(size));
    await ok('file', 'import', volume, 'third', '--input', input);
    await ok('file', 'write', volume, 'first', '--offset', '1000', '--input', input);
    await ok('file', 'snapshot', volume, 'first', '--as', 'kept');
    expect(await ok('file', 'list', volume)).toMatchObject({
      files: [{ name: 'first' }, { name: 'kept' }, { name: 'second' }, { name: 'third', sizeBytes: size }],
    });
    const range = ['--offset', '1000', '--length', String(size)];
    const kept = await runHoldfast(['file', 'read', volume, 'kept', ...range]);
    const third = await runHoldfast(['file', 'read', volume, 'third']);
    expect(Buffer.compare(kept.stdoutBytes, third.stdoutBytes)).toBe(0);
    await expect(NbdDevice.open(uriOf(served.uri, 'third'), { readOnly: true })).rejects.toThrow('third');
    await ok('file', 'remove', volume, 'third', '--yes');
    const refused = await runJson(['file', 'remove', volume, 'second', '--yes']);
    expect(refused.json).toMatchObject({ exitCode: 11, error: { code: 'IN_USE' } });
    expect(await ok('journal', 'status', volume)).toMatchObject({ files: [] });
    expect((await served.stop()).exitCode).toBe(0);
    expect((await runJson(['status', volume])).json.result).toMatchObject({ state: 'clean' });
  });
});
