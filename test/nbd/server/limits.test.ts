/** Clients that hang, that are too many, and that no longer read: what they cost, and that others are served. */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Extent } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { COMMANDS, OPTIONS } from '../../../src/nbd/protocol/constants.js';
import { encodeOption } from '../../../src/nbd/protocol/handshake.js';
import { encodeInfoRequest } from '../../../src/nbd/protocol/option-data.js';
import { SIMPLE_REPLY_BYTES } from '../../../src/nbd/protocol/transmission.js';
import type { NbdServer } from '../../../src/nbd/server/server.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { pattern, RawClient } from '../../support/nbd/raw-client.js';
import { served } from '../../support/nbd/served.js';

const MIB = 1024 * 1024;
const { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_FLUSH } = COMMANDS;

function memory(bytes = 128 * MIB) {
  return [{ name: 'a', device: new MemoryDevice(bytes) }];
}

/** Turns of the event loop until it holds, however long that takes. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await setImmediate();
}

describe('the handshake', () => {
  const go = encodeOption(OPTIONS.NBD_OPT_GO, encodeInfoRequest({ name: '', infos: [] }));

  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['half of its flags', Buffer.from([0, 0])],
    ['half an option', Buffer.concat([Buffer.from([0, 0, 0, 3]), go.subarray(0, 18)])],
    ['an option a byte short', Buffer.concat([Buffer.from([0, 0, 0, 3]), go.subarray(0, -1)])],
  ])('a client that says %s has its time, and is cut off', async (_what, bytes) => {
    const { path, server } = await served(memory(), { handshakeLimitMs: 50 });
    const client = await RawClient.connect(path);
    client.send(bytes);
    expect(await client.ended()).toBe(18);
    await until(() => server.status().handshakes === 0);
  });

  it('is limited as a whole: talking on does not make it longer', async () => {
    const { greeted } = await served(memory(), { handshakeLimitMs: 100 });
    const client = await greeted();
    const talk = async () => {
      for (;;) await client.option(OPTIONS.NBD_OPT_LIST);
    };
    await expect(talk()).rejects.toThrow('the connection ended');
  });

  it('does not limit what comes after it', async () => {
    const { client, greeted } = await served(memory(), { handshakeLimitMs: 100 });
    const patient = await client({});
    expect(await (await greeted()).ended()).toBe(0);
    expect((await patient.ask({ command: NBD_CMD_READ, length: 512 })).error).toBe(0);
  });

  it('has room for 100; one more is closed at once, and those before it are served', async () => {
    const { path, greeted, server } = await served(memory());
    const waiting = await Promise.all(Array.from({ length: 100 }, () => RawClient.connect(path)));
    await until(() => server.status().handshakes === 100);
    const more = await RawClient.connect(path);
    expect(await more.ended()).toBe(0);
    expect(server.status().refused).toBe(1);
    await waiting[50]!.greet();
    await waiting[50]!.begin({});
    waiting[99]!.close();
    await until(() => server.status().handshakes === 98);
    expect(await (await greeted()).verdict(OPTIONS.NBD_OPT_ABORT)).toBe(1);
    for (const client of waiting) client.close();
  });

  it('has room for so many connections in all', async () => {
    const { client, path, server } = await served(memory(), { maxConnections: 2 });
    await client({});
    const second = await client({});
    expect(await (await RawClient.connect(path)).ended()).toBe(0);
    second.close();
    await until(() => server.status().connections.length === 1);
    await client({});
  });
});

it('strangers do not take the room of who comes from this machine itself, nor the other way round', async () => {
  const { client, greeted, path, server } = await served(memory(), { maxConnections: 2, maxHandshakes: 1 });
  const own = await localSocket(server);
  await client({});
  await greeted();
  expect(await (await RawClient.connect(path)).ended()).toBe(0);
  const locals = [await RawClient.transmitting(own), await RawClient.greeted(own)];
  expect((await locals[0]!.read(0, 512)).byteLength).toBe(512);
  expect(server.status()).toMatchObject({ handshakes: 2, refused: 1 });
  // They have limits of their own.
  expect(await (await RawClient.connect(own)).ended()).toBe(0);
  expect(server.status().refused).toBe(2);
  for (const each of locals) each.close();
  await until(() => server.status().handshakes === 1 && server.status().connections.length === 1);
  expect(await (await RawClient.connect(path)).ended()).toBe(0);
  (await RawClient.transmitting(own)).close();
});

/** Where clients of this machine's own user come, as by the socket that a served volume has for them. */
async function localSocket(server: NbdServer): Promise<string> {
  const path = join(await scratchDirectory(), 'own.sock');
  const listening = createServer({ allowHalfOpen: true }, (socket) => server.serveLocal(socket));
  await new Promise<void>((resolve) => listening.listen(path, resolve));
  onTestFinished(() => void listening.close());
  return path;
}

describe('a client that no longer reads', () => {
  it.each([false, true])(
    'costs its share and not more; others are served (structured: %s)',
    async (structured) => {
      const { client, server } = await served(memory(), { budgetBytes: 8 * MIB });
      const filler = await client({});
      const data = pattern(16 * MIB);
      await filler.ask({ command: NBD_CMD_WRITE, data });
      const deaf = [await client({ structured }), await client({ structured }), await client({ structured })];
      const requests = [64 * MIB, MIB, 4096, 8 * MIB];
      for (const peer of deaf) {
        peer.socket.pause();
        for (let i = 0; i < 3000; i++)
          peer.post({ command: NBD_CMD_READ, offset: 0, length: requests[i % requests.length]! });
      }
      await until(() => server.status().heldBytes >= 8 * MIB);
      for (let i = 0; i < 8; i++) {
        const part = data.subarray(i * MIB, (i + 2) * MIB);
        expect((await filler.read(i * MIB, 2 * MIB)).equals(part)).toBe(true);
        expect(server.status().heldBytes).toBeLessThanOrEqual(8 * MIB + 4 * 2 * MIB);
      }
      for (const peer of deaf) peer.close();
      await until(() => server.status().connections.length === 1 && server.status().heldBytes === 0);
    },
  );

  it('and goes on asking is soon not listened to', async () => {
    const { client, server } = await served(memory());
    const deaf = await client({});
    deaf.socket.pause();
    const flushes = () => server.status().exports[0]!.counters.requests.flush;
    let asked = 0;
    // Its own socket tells when the server takes no more: `write` goes on to say no.
    for (let full = 0; full < 50; full = deaf.socket.writableNeedDrain ? full + 1 : 0) {
      for (let i = 0; i < 1000 && !deaf.socket.writableNeedDrain; i++, asked++)
        deaf.post({ command: NBD_CMD_FLUSH });
      await setImmediate();
    }
    expect(flushes()).toBeLessThan(asked);
    deaf.socket.resume();
    await deaf.reader.skip(asked * SIMPLE_REPLY_BYTES);
    expect(flushes()).toBe(asked);
  });
});

describe('a client that stalls in the middle of a write', () => {
  it('holds up nobody, neither for memory nor for the range', async () => {
    const { client } = await served(memory(), { budgetBytes: 4 * MIB });
    const stalled = await Promise.all(Array.from({ length: 10 }, () => client({})));
    for (const peer of stalled)
      peer.post({ command: NBD_CMD_WRITE, offset: 0, length: 8 * MIB, data: pattern(MIB + 5) });
    const other = await client({});
    const data = pattern(16 * MIB).reverse();
    expect((await other.ask({ command: NBD_CMD_WRITE, offset: 0, data })).error).toBe(0);
    expect((await other.read(2 * MIB, 4096)).equals(data.subarray(2 * MIB, 2 * MIB + 4096))).toBe(true);
  });
});

it('requests wait for those that they overlap, across connections, and for no others', async () => {
  const device = new HeldDevice(new MemoryDevice(16 * MIB));
  const { client } = await served([{ name: 'a', device }]);
  const [one, other] = [await client({}), await client({})];
  device.hold('write');
  one.post({ command: NBD_CMD_WRITE, offset: 4096, data: Buffer.alloc(4096, 1) });
  await device.arrived(1);
  const waiting = other.post({ command: NBD_CMD_READ, offset: 0, length: 8192, cookie: 7 });
  const free = other.post({ command: NBD_CMD_READ, offset: 8192, length: 4096, cookie: 8 });
  expect((await other.reply()).cookie).toBe(free);
  device.release('write');
  const reply = await other.reply();
  expect(reply.cookie).toBe(waiting);
  expect(reply.data[0]!.bytes.subarray(4096).equals(Buffer.alloc(4096, 1))).toBe(true);
});

/** Takes anything, holds nothing, and says that all of it is data. */
class Bottomless extends MemoryDevice {
  override async read(): Promise<void> {
    await setImmediate();
  }

  override async write(): Promise<void> {
    await setImmediate();
  }

  override async extents(offset: number, length: number): Promise<Extent[]> {
    return [{ offset, length, kind: 'data' }];
  }
}

it('16 connections with requests of 64 MiB each, both ways, stay far below 512 MiB', async () => {
  const { client, server } = await served([{ name: 'a', device: new Bottomless(2 ** 40) }]);
  const before = process.memoryUsage().rss;
  let rss = 0;
  let heldBytes = 0;
  const look = () => {
    rss = Math.max(rss, process.memoryUsage().rss);
    heldBytes = Math.max(heldBytes, server.status().heldBytes);
  };
  const block = Buffer.alloc(MIB, 1);
  const work = Array.from({ length: 16 }, async (_, i) => {
    const peer = await client({ structured: i % 2 === 0 });
    peer.post({ command: NBD_CMD_READ, offset: i * 2 ** 32, length: 64 * MIB });
    peer.post({ command: NBD_CMD_WRITE, offset: i * 2 ** 33, length: 64 * MIB });
    const received = peer.reader.skip(64 * MIB);
    for (let sent = 0; sent < 64; sent++) {
      await new Promise<void>((resolve) => peer.socket.write(block, () => resolve()));
      look();
    }
    await received;
    peer.close();
  });
  await Promise.all(work);
  expect(heldBytes).toBeLessThanOrEqual(128 * MIB + 16 * 2 * MIB);
  expect(rss - before).toBeLessThan(400 * MIB);
});
