/** Where a server can be reached, what it leaves behind, and how it ends. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import type { UserError } from '../../../src/errors.js';
import { COMMANDS, ERROR_REPLIES, ERRORS, OPTIONS } from '../../../src/nbd/protocol/constants.js';
import { inheritedSockets } from '../../../src/nbd/server/listeners.js';
import { NbdServer } from '../../../src/nbd/server/server.js';
import { takeSocketPath } from '../../../src/nbd/server/unix-socket.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { pattern, RawClient } from '../../support/nbd/raw-client.js';
import { served } from '../../support/nbd/served.js';
import { stage } from '../../support/nbd/stage.js';
import { isInstalled } from '../client/servers.js';

const MIB = 1024 * 1024;
const { NBD_CMD_READ, NBD_CMD_WRITE } = COMMANDS;

function server(): NbdServer {
  const onFault = (error: unknown) => {
    throw error;
  };
  return new NbdServer({ exports: [{ name: 'a', device: new MemoryDevice(MIB) }], onFault });
}

async function socketPath(): Promise<string> {
  return join(await scratchDirectory(), 'nbd.sock');
}

/** A socket's file whose process was killed. */
async function staleSocket(path: string): Promise<void> {
  const listen = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('there'))`;
  const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('a unix socket', () => {
  it('is there while the server is, and goes with it', async () => {
    const path = await socketPath();
    const one = server();
    await one.listenUnix(path);
    const client = await RawClient.transmitting(path);
    expect((await client.read(0, 512)).byteLength).toBe(512);
    await one.stop();
    expect(existsSync(path)).toBe(false);
  });

  it('that a dead server left behind is replaced', async () => {
    const path = await socketPath();
    await staleSocket(path);
    expect((await lstat(path)).isSocket()).toBe(true);
    const one = server();
    await one.listenUnix(path);
    (await RawClient.transmitting(path)).close();
    await one.stop();
  });

  it('of a server that lives is never taken, nor removed by who failed', async () => {
    const path = await socketPath();
    const [one, other] = [server(), server()];
    await one.listenUnix(path);
    await expect(other.listenUnix(path)).rejects.toMatchObject({ code: 'IN_USE' });
    await other.stop();
    (await RawClient.transmitting(path)).close();
    await one.stop();
  });

  it('is one of two that start at once', async () => {
    for (let round = 0; round < 5; round++) {
      const path = await socketPath();
      await staleSocket(path);
      const servers = [server(), server()];
      const outcomes = await Promise.allSettled(servers.map((one) => one.listenUnix(path)));
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      expect(refused.map(({ reason }) => (reason as UserError).code)).toEqual(['IN_USE']);
      (await RawClient.transmitting(path)).close();
      for (const one of servers) await one.stop();
      expect(existsSync(path)).toBe(false);
    }
  });

  it('is not removed when somebody else has put another in its place', async () => {
    const path = await socketPath();
    const [one, other] = [server(), server()];
    await one.listenUnix(path);
    rmSync(path);
    await other.listenUnix(path);
    await one.stop();
    (await RawClient.transmitting(path)).close();
    await other.stop();
  });

  it.each<[string, (path: string) => void, string]>([
    ['a file', (path) => writeFileSync(path, 'precious'), 'NOT_BLANK'],
    ['a link', (path) => symlinkSync('/dev/null', path), 'NOT_BLANK'],
  ])('is not put in the place of %s', async (_what, make, code) => {
    const path = await socketPath();
    make(path);
    await expect(server().listenUnix(path)).rejects.toMatchObject({ code });
    expect((await lstat(path)).isSocket()).toBe(false);
  });

  it('has a path that fits', async () => {
    const path = join(await scratchDirectory(), 'x'.repeat(120));
    await expect(server().listenUnix(path)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(server().listenUnix('')).rejects.toMatchObject({ code: 'USAGE' });
    await expect(server().listenUnix('/nowhere/at/all')).rejects.toMatchObject({
      message: expect.stringContaining("stat '/nowhere/at'"),
      details: { file: '/nowhere/at/all' },
    });
  });

  it('has a neighbour that Node does not take for a port: ".12345678" would be one', async () => {
    const neighbours: string[] = [];
    const listen = async (path: string) => {
      neighbours.push(path);
      throw new Error('enough is known');
    };
    await expect(takeSocketPath('nbd.sock', listen)).rejects.toThrow('enough is known');
    expect(neighbours).toEqual([expect.stringMatching(/^\.\/\.[0-9a-f]{8}$/)]);
  });
});

describe('TCP', () => {
  it('listens at a port that is free, or at one that was asked for', async () => {
    const [one, other] = [server(), server()];
    const { port } = await one.listenTcp({ host: '127.0.0.1', port: 0 });
    await expect(other.listenTcp({ host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'IN_USE' });
    await expect(other.listenTcp({ host: '203.0.113.1', port: 0 })).rejects.toMatchObject({ code: 'USAGE' });
    const client = new RawClient(connect({ host: '127.0.0.1', port, allowHalfOpen: true }));
    await client.greet();
    await client.begin({});
    expect(one.status().connections).toMatchObject([{ peer: expect.stringContaining('127.0.0.1 port ') }]);
    client.close();
    await one.stop();
  });
});

describe('socket activation', () => {
  /** As `nbdinfo [ COMMAND ]` starts a server: it listens before, and hands the socket over. */
  it.runIf(isInstalled('nbdinfo'))('takes what it was handed, and takes the variables away', async () => {
    const built = (path: string) => new URL(`../../../dist/src/${path}`, import.meta.url).href;
    const program = `
      import { NbdServer } from '${built('nbd/server/server.js')}';
      import { MemoryDevice } from '${built('device/memory.js')}';
      const server = new NbdServer({ exports: [{ name: '', device: new MemoryDevice(1024 * 1024) }], onFault: console.error });
      if ((await server.listenInherited()) !== 1 || 'LISTEN_FDS' in process.env) process.exit(1);`;
    const command = ['[', process.execPath, '--input-type=module', '-e', program, ']'];
    const { stdout } = await promisify(execFile)('nbdinfo', ['--size', '--', ...command]);
    expect(stdout.trim()).toBe(String(MIB));
  });

  it('is for the process that it names, and no other', async () => {
    const env = { LISTEN_FDS: '1', LISTEN_PID: '1' };
    expect(await server().listenInherited(env, 2)).toBe(0);
    expect(await server().listenInherited({}, 2)).toBe(0);
  });

  it.each(['', 'abc', '-1', '0', '1.5', '1e9'])('%j is no number of sockets', (count) => {
    expect(inheritedSockets({ LISTEN_FDS: count, LISTEN_PID: '7' }, 7)).toBe(0);
  });
});

describe('stop', () => {
  it('lets what is in flight end, answers it, refuses what comes later, and flushes', async () => {
    const faulty = new FaultyDevice(new MemoryDevice(MIB));
    const device = new HeldDevice(faulty);
    const { client, server: one } = await served([{ name: 'a', device }]);
    const peer = await client({});
    device.hold('write');
    const cookie = peer.post({ command: NBD_CMD_WRITE, data: pattern(4096) });
    await device.arrived(1);
    const stopped = one.stop();
    const late = peer.post({ command: NBD_CMD_READ, length: 512 });
    expect(await peer.reply()).toMatchObject({ cookie: late, error: ERRORS.NBD_ESHUTDOWN });
    expect(faulty.counts.flushes).toBe(0);
    device.release('write');
    expect(await peer.reply()).toMatchObject({ cookie, error: 0 });
    expect(await peer.ended()).toBe(0);
    await stopped;
    expect(faulty.counts).toMatchObject({ writes: 1, flushes: 1 });
  });

  it('closes who is idle, and who is in the handshake', async () => {
    const { client, greeted, server: one } = await stage();
    const [idle, shaking] = [await client({}), await greeted()];
    await one.stop();
    expect(await idle.ended()).toBe(0);
    expect(await shaking.ended()).toBe(0);
    await one.stop();
  });

  it('cuts off who does not let his request end', async () => {
    const { client, server: one, device } = await stage();
    const peer = await client({});
    peer.post({ command: NBD_CMD_WRITE, length: 4096, data: pattern(100) });
    await expect.poll(() => one.status().exports[0]?.counters.inFlight).toBe(1);
    await one.stop(20);
    expect(await peer.ended()).toBe(0);
    expect(device.counts).toMatchObject({ writes: 0, flushes: 1 });
  });

  it('tells of a flush that failed, when all is closed', async () => {
    const { client, server: one, device } = await stage();
    const peer = await client({});
    device.addRule({ operations: ['flush'] });
    await expect(one.stop()).rejects.toMatchObject({ code: 'IO_ERROR' });
    expect(await peer.ended()).toBe(0);
  });

  it('closes all of it, and flushes, though a socket cannot be taken away', async () => {
    const { client, path, server: one, device } = await stage();
    const other = await socketPath();
    await one.listenUnix(other);
    const { port } = await one.listenTcp({ host: '127.0.0.1', port: 0 });
    const peer = await client({});
    const folder = dirname(path);
    renameSync(folder, `${folder}.gone`);
    writeFileSync(folder, 'no folder');
    try {
      await expect(one.stop()).rejects.toMatchObject({ message: expect.stringContaining(path) });
    } finally {
      rmSync(folder);
      renameSync(`${folder}.gone`, folder);
    }
    expect(existsSync(other)).toBe(false);
    await expect(once(connect({ host: '127.0.0.1', port }), 'connect')).rejects.toThrow('ECONNREFUSED');
    expect(await peer.ended()).toBe(0);
    expect(device.counts.flushes).toBe(1);
  });

  it('at once: nothing is flushed, and no call is left in flight', async () => {
    const faulty = new FaultyDevice(new MemoryDevice(MIB));
    const device = new HeldDevice(faulty);
    const { client, server: one } = await served([{ name: 'a', device }]);
    const peer = await client({});
    device.hold('write');
    peer.post({ command: NBD_CMD_WRITE, data: pattern(4096) });
    await device.arrived(1);
    const ended = { now: false };
    const stopped = one.stopNow().then(() => {
      ended.now = true;
    });
    expect(await peer.ended()).toBe(0);
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect(ended.now).toBe(false);
    device.release('write');
    await stopped;
    expect(faulty.counts).toMatchObject({ writes: 1, flushes: 0 });
  });
});

it('an option while the server is being stopped is refused, in words', async () => {
  const { greeted, client, server: one } = await stage();
  await client({});
  const peer = await greeted();
  void one.stop();
  const verdict = await peer.verdict(OPTIONS.NBD_OPT_LIST).catch(() => 'closed');
  expect(['closed', ERROR_REPLIES.NBD_REP_ERR_SHUTDOWN]).toContain(verdict);
});
