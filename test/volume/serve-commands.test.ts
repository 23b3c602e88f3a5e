/** `holdfast serve`, and the commands that act through it, as a user runs them. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { isInstalled } from '../nbd/client/servers.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const BLOCK = 4096;
const BINARY = fileURLToPath(new URL('../../bin/run.js', import.meta.url));

async function newVolume(): Promise<{ folder: string; volume: string }> {
  const folder = await temporaryFolder();
  const volume = join(folder, 'v');
  const made = await runHoldfast(['create', volume, '--members', '4', '--size', '12MiB']);
  expect(made.exitCode).toBe(0);
  return { folder, volume };
}

describe('a volume that is served', { timeout: 120_000 }, () => {
  it('is a disk for clients, and is clean when the server was told to stop', async () => {
    const { folder, volume } = await newVolume();
    const pidFile = join(folder, 'pid');
    const served = await serve(folder, volume, ['--pid-file', pidFile]);
    expect((await stat(pidFile)).isFile()).toBe(true);
    const device = await NbdDevice.open(served.uri, { readOnly: false });
    const bytes = randomBytes(BLOCK);
    await device.write(BLOCK, bytes);
    await device.flush();
    const back = new Uint8Array(BLOCK);
    await device.read(BLOCK, back);
    expect(Buffer.compare(back, bytes)).toBe(0);
    await device.close();
    expect((await served.stop()).exitCode).toBe(0);
    await expect(stat(pidFile)).rejects.toThrow('ENOENT');
    expect((await runJson(['status', volume])).json.result).toMatchObject({ state: 'clean', holder: null });
    const read = await runHoldfast(['read', volume, '--offset', '4096', '--length', '4096']);
    expect(Buffer.compare(read.stdoutBytes, bytes)).toBe(0);
  });

  it('is read, written, scrubbed and told of through its server', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const written = await runHoldfast(['write', volume, '--offset', '5'], { input: 'hello' });
    expect(written).toMatchObject({ exitCode: 0, stderr: '' });
    const device = await NbdDevice.open(served.uri, { readOnly: true });
    const sector = new Uint8Array(512);
    await device.read(0, sector);
    expect(Buffer.from(sector.subarray(5, 10)).toString()).toBe('hello');
    expect((await runHoldfast(['read', volume, '--length', '10'])).stdout.slice(5)).toBe('hello');
    const scrub = await runJson(['scrub', volume]);
    expect(scrub.json).toMatchObject({ exitCode: 0, result: { mismatchedStripes: 0 } });
    const status = await runJson(['status', volume]);
    expect(status.json.result).toMatchObject({
      state: 'active',
      serving: { pid: served.child.pid, exports: [{ connections: 1 }], cacheMode: 'writeback' },
    });
    await device.close();
    await served.stop();
  });

  it('loses a member and gets another while clients write: they see nothing of it', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const device = await NbdDevice.open(served.uri, { readOnly: false });
    const content = randomBytes(device.size);
    let isOver = false;
    const writing = (async () => {
      for (let at = 0; !isOver; at = (at + 16 * BLOCK) % (device.size - 16 * BLOCK))
        await device.write(at, content.subarray(at, at + 16 * BLOCK));
    })();
    expect((await runHoldfast(['member', 'fail', volume, '--slot', '1', '--yes'])).exitCode).toBe(0);
    const degraded = await runJson(['status', volume]);
    expect(degraded.json).toMatchObject({ exitCode: 3, result: { state: 'degraded', inDoubt: [] } });
    // As it is named in another directory than the server's.
    const added = await runHoldfast(['member', 'add', 'v', '--image', 'new.img'], { cwd: folder });
    expect(added).toMatchObject({ exitCode: 0 });
    isOver = true;
    await writing;
    await device.write(0, content);
    await device.flush();
    expect((await runJson(['status', volume])).json.result).toMatchObject({ state: 'active' });
    await device.close();
    await served.stop();
    expect((await runJson(['scrub', volume])).json).toMatchObject({ exitCode: 0 });
    const back = await runHoldfast(['read', volume]);
    expect(Buffer.compare(back.stdoutBytes, content)).toBe(0);
  });

  it('is left alone by commands that cannot act on it while it is served', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    for (const command of [['recover'], ['fsck', '-p']]) {
      const refused = await runHoldfast([...command, volume]);
      expect(refused.exitCode).toBe(command[0] === 'fsck' ? 8 : 11);
      expect(refused.stderr).toContain(String(served.child.pid));
    }
    const second = await runHoldfast(['serve', volume, '--socket', join(folder, 'other.sock')]);
    expect(second.exitCode).toBe(11);
    await served.stop();
  });

  it('is recovered after its server was killed, and the sockets it left hinder nobody', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const device = await NbdDevice.open(served.uri, { readOnly: false, reconnect: { tries: 0 } });
    const bytes = randomBytes(BLOCK);
    await device.write(0, bytes);
    await device.flush();
    await device.write(BLOCK, bytes);
    await served.stop('SIGKILL');
    await device.close();
    expect((await runHoldfast(['write', volume, '--offset', '1MiB'], { input: 'x' })).exitCode).toBe(0);
    const back = await runHoldfast(['read', volume, '--length', '4096']);
    expect(Buffer.compare(back.stdoutBytes, bytes)).toBe(0);
    const again = await serve(folder, volume);
    expect((await again.stop('SIGINT')).exitCode).toBe(0);
  });

  it('stops though somebody is silent on its control socket', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const silent = connect(join(volume, 'control.socket'));
    await new Promise((resolve) => silent.once('connect', resolve));
    expect((await served.stop()).exitCode).toBe(0);
    silent.destroy();
    expect((await runJson(['status', volume])).json.result).toMatchObject({ state: 'clean' });
  });

  it('answers what is no request with an error', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    for (const [said, code] of [
      ['rubbish', 'USAGE'],
      ['{"holdfast":1,"operation":"format everything","arguments":{}}', 'UNSUPPORTED'],
      ['{"holdfast":1,"operation":"member fail","arguments":{"slot":"x"}}', 'USAGE'],
    ]) {
      const socket = connect(join(volume, 'control.socket'));
      socket.write(`${said}\n`);
      let answer = '';
      for await (const chunk of socket) answer += String(chunk);
      expect(JSON.parse(answer)).toMatchObject({ error: { code } });
    }
    await served.stop();
  });

  it('is a volume for other commands under its URI', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume);
    const written = await runHoldfast(['write', served.uri, '--offset', '7'], { input: 'far' });
    expect(written).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await runHoldfast(['read', served.uri, '--length', '10'])).stdout.slice(7)).toBe('far');
    expect((await runJson(['status', served.uri])).json.result).toMatchObject({
      state: 'clean',
      sizeBytes: (await runJson(['status', volume])).json.result?.sizeBytes,
    });
    await served.stop();
  });

  it('read only is not written', async () => {
    const { folder, volume } = await newVolume();
    const served = await serve(folder, volume, ['--read-only']);
    await expect(NbdDevice.open(served.uri, { readOnly: false })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    await served.stop();
  });
});

describe('serve', { timeout: 60_000 }, () => {
  it('--run has the URI, and its exit code', async () => {
    const { volume } = await newVolume();
    const ran = await runHoldfast(['serve', volume, '--run', 'printf "%s" "$uri"; exit 7']);
    expect(ran).toMatchObject({ exitCode: 7, stderr: '' });
    expect(ran.stdout).toMatch(/^nbd\+unix:\/\/\/v\?socket=\//);
  });

  it('--run is told the port that was free', async () => {
    const { volume } = await newVolume();
    const ran = await runHoldfast(['serve', volume, '--port', '0', '--run', 'echo "$port $uri"']);
    const [port, uri] = ran.stdout.trim().split(' ');
    expect(Number(port)).toBeGreaterThan(0);
    expect(uri).toBe(`nbd://127.0.0.1:${port}/v`);
  });

  it('a process number that cannot be written is said in words, and the volume is closed', async () => {
    const { folder, volume } = await newVolume();
    for (const file of [join(folder, 'no', 'pid'), folder]) {
      const refused = await runHoldfast(['serve', volume, '--run', 'true', '--pid-file', file]);
      expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
      expect(refused.stderr).toContain(`${file}: cannot be written`);
      expect(refused.stderr).not.toContain('internal');
    }
    expect((await runJson(['status', volume])).json.result).toMatchObject({ state: 'clean' });
  });

  /** The copy goes down the pipe that the server has for its words too: none may come, and it has to stay as it was. */
  it.runIf(isInstalled('nbdcopy'))('leaves the output to who started it by socket activation', async () => {
    const { volume } = await newVolume();
    await runHoldfast(['write', volume], { input: 'copied' });
    const server = ['[', process.execPath, BINARY, 'serve', volume, ']'];
    const copy = spawn('nbdcopy', ['--', ...server, '-'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const size = Number((await runJson(['status', volume])).json.result?.sizeBytes);
    // Only now is read what was written: by then the pipe was full, and a writer waited.
    const copied = await buffer(copy.stdout);
    expect([copied.byteLength, copied.subarray(0, 6).toString()]).toEqual([size, 'copied']);
  });

  it.each([
    [[], 'where is it to listen'],
    [['--address', '0.0.0.0'], 'other machines'],
    [['--address', '192.0.2.1'], 'other machines'],
    [['--socket', 's', '--tls-verify-peer'], 'tls-certificates'],
    [['--socket', ''], 'cannot be empty'],
    [['--run', ' '], 'no command'],
  ])('%j is wrong usage', async (flags, why) => {
    const { volume } = await newVolume();
    const refused = await runHoldfast(['serve', volume, ...flags]);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain(why);
  });

  it('opens an array whose members are exports of other servers', async () => {
    const { folder, volume } = await newVolume();
    const members = await Promise.all(
      [0, 1, 2, 3].map(async (slot) => {
        const at = join(folder, String(slot));
        await mkdir(at);
        await rename(join(volume, `member-${slot}.img`), join(at, 'raw'));
        return at;
      }),
    );
    const qemu = members.map((at) =>
      spawn('qemu-nbd', ['--format=raw', '--persistent', '--fork', `--socket=${at}/sock`, join(at, 'raw')]),
    );
    const started = await Promise.all(
      qemu.map(
        (child) => new Promise((resolve) => child.on('error', () => resolve(null)).on('exit', resolve)),
      ),
    );
    if (started.includes(null)) return void console.log('not checked: qemu-nbd is not installed');
    const uris = members.map((at) => `nbd+unix:///?socket=${at}/sock`);
    expect((await runHoldfast(['write', ...uris], { input: 'abc' })).exitCode).toBe(0);
    expect((await runJson(['status', ...uris])).json).toMatchObject({
      exitCode: 0,
      result: { state: 'clean' },
    });
    expect((await runHoldfast(['read', ...uris, '--length', '3'])).stdout).toBe('abc');
    for (const at of members) spawn('pkill', ['-f', `--socket=${at}/sock`]);
  });

  it('serves one image, whose sockets lie beside it', async () => {
    const folder = await temporaryFolder();
    const image = join(folder, 'disk.img');
    await writeFile(image, new Uint8Array(1024 * 1024));
    const served = await serve(folder, image);
    expect((await stat(join(`${image}.holdfast`, 'control.socket'))).mode & 0o777).toBe(0o600);
    expect((await runHoldfast(['write', image], { input: 'abc' })).exitCode).toBe(0);
    expect((await runHoldfast(['read', image, '--length', '3'])).stdout).toBe('abc');
    await served.stop();
  });
});
