/** Bytes to and from sockets: exact lengths, backpressure both ways, and ends at any moment. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { receivingDirectly } from '../../../src/nbd/wire/direct-socket.js';
import { widenSendRoom } from '../../../src/nbd/wire/send-room.js';
import { ConnectionEnded, SocketReader } from '../../../src/nbd/wire/socket-reader.js';
import { SocketWriter } from '../../../src/nbd/wire/socket-writer.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { pattern } from '../../support/nbd/raw-client.js';

const MIB = 1024 * 1024;

async function pair(isDirect = false): Promise<[Socket, Socket]> {
  const path = join(await scratchDirectory(), 's');
  const server = createServer({ allowHalfOpen: true }).listen(path);
  const one = connect({ path, allowHalfOpen: true });
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const other = isDirect ? receivingDirectly(accepted) : accepted;
  // Where Node has no such handle any more it would be by events again, and slower.
  expect(other === accepted).toBe(!isDirect);
  for (const socket of [one, other]) socket.on('error', () => {});
  onTestFinished(() => {
    one.destroy();
    other.destroy();
    server.close();
  });
  return [one, other];
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await setImmediate();
}

describe.each([
  ['by events', false],
  ['into its own memory', true],
])('reader, %s', (_, isDirect) => {
  it('gives what was sent, in whatever lengths it is taken and sent', () =>
    withSeed(async (random) => {
      const [from, to] = await pair(isDirect);
      const reader = new SocketReader(to);
      const data = pattern(3 * MIB);
      const sending = (async () => {
        for (let at = 0; at < data.byteLength; ) {
          const end = at + random.between(1, random.pick([10, 5000, 200_000]));
          from.write(data.subarray(at, end));
          at = end;
          if (random.chance(0.3)) await setImmediate();
        }
        from.end();
      })();
      for (let at = 0; at < data.byteLength; ) {
        const bytes = Math.min(random.between(1, random.pick([30, 3000, 300_000])), data.byteLength - at);
        const expected = data.subarray(at, at + bytes);
        const way = random.below(4);
        if (way === 0) expect((await reader.take(bytes)).equals(expected)).toBe(true);
        else if (way === 1) expect(Buffer.concat(await reader.takeViews(bytes)).equals(expected)).toBe(true);
        else if (way === 2) await reader.skip(bytes);
        else {
          const cut = random.below(bytes + 1);
          const into = [Buffer.alloc(cut), Buffer.alloc(bytes - cut)];
          await reader.readInto(into);
          expect(Buffer.concat(into).equals(expected)).toBe(true);
        }
        at += bytes;
      }
      await sending;
      expect(await reader.takeUnlessEnded(1)).toBeNull();
    }));

  it('takes without waiting only what is all there', async () => {
    const [from, to] = await pair(isDirect);
    const reader = new SocketReader(to);
    from.write('abc');
    expect((await reader.take(1)).toString()).toBe('a');
    expect(reader.tryTake(3)).toBeNull();
    expect(reader.tryTakeViews(3)).toBeNull();
    expect(reader.tryTake(2)?.toString()).toBe('bc');
    expect(reader.tryTake(0)?.byteLength).toBe(0);
  });

  it('hands out views of what Node received', async () => {
    const [from, to] = await pair(isDirect);
    const reader = new SocketReader(to);
    from.write(pattern(1000));
    const [first, second] = [await reader.take(100), await reader.takeViews(900)];
    expect(second.every(({ buffer }) => buffer === first.buffer)).toBe(true);
  });

  it('lets the peer wait while nobody reads, and goes on when somebody does', async () => {
    const [from, to] = await pair(isDirect);
    const reader = new SocketReader(to);
    const data = pattern(16 * MIB);
    from.write(data);
    await turns(200);
    expect(reader.bufferedBytes).toBeLessThan(MIB);
    expect(from.writableLength).toBeGreaterThan(0);
    const into = Buffer.alloc(data.byteLength);
    await reader.readInto(into);
    expect(into.equals(data)).toBe(true);
  });

  it.each<[string, (from: Socket) => void]>([
    ['closes', (from) => from.end('abc')],
    ['breaks off', (from) => from.write('abc', () => from.destroy())],
  ])('tells that the peer %s in the middle', async (_how, end) => {
    const [from, to] = await pair(isDirect);
    const reader = new SocketReader(to);
    end(from);
    await expect(reader.take(4)).rejects.toThrow(ConnectionEnded);
    expect((await reader.take(3)).toString()).toBe('abc');
    expect(reader.ended).toBe(true);
    await expect(reader.readInto(Buffer.alloc(1))).rejects.toThrow('1 bytes before the end');
    await expect(reader.skip(1)).rejects.toThrow(ConnectionEnded);
    expect(await reader.takeUnlessEnded(1)).toBeNull();
  });

  it('is one caller at a time', async () => {
    const [, to] = await pair(isDirect);
    const reader = new SocketReader(to);
    const first = reader.take(1);
    await expect(reader.take(1)).rejects.toThrow('Two readers');
    to.destroy();
    await expect(first).rejects.toThrow(ConnectionEnded);
  });
});

it('long messages one after another are received where they are wanted, but for their first bytes', async () => {
  const [from, to] = await pair(true);
  const reader = new SocketReader(to);
  const into = Buffer.alloc(MIB);
  let elsewhere = 0;
  const received = reader.received.bind(reader);
  reader.received = (bytes) => {
    if (bytes.buffer !== into.buffer) elsewhere += bytes.byteLength;
    received(bytes);
  };
  const message = Buffer.concat([pattern(28), pattern(MIB)]);
  const sending = (async () => {
    for (let i = 0; i < 16; i++) if (!from.write(message)) await once(from, 'drain');
  })();
  for (let i = 0; i < 16; i++) {
    expect((await reader.take(28)).equals(message.subarray(0, 28))).toBe(true);
    await reader.readInto(into);
    expect(Buffer.compare(into, message.subarray(28))).toBe(0);
  }
  await sending;
  // The first message is not expected to be long: a slab of it, and what one call brings.
  expect(elsewhere).toBeLessThan(15 * 8 * 1024 + 512 * 1024);
});

it('a unix socket takes more before its peer reads, once it was given room', async () => {
  const [narrow] = await pair();
  const [wide] = await pair();
  await widenSendRoom(wide);
  const [before, after] = [await takenUnread(narrow), await takenUnread(wide)];
  // Where net.core.wmem_max is what is given anyway, the kernel still doubles what is asked for.
  expect(after).toBeGreaterThan(before * 1.5);
});

/** What the kernel takes while nobody reads, in bytes: whole pieces. */
async function takenUnread(socket: Socket): Promise<number> {
  const piece = Buffer.alloc(16 * 1024);
  for (let taken = 0; ; taken += piece.byteLength) {
    const written = new Promise<boolean>((resolve) => socket.write(piece, () => resolve(true)));
    if (!(await Promise.race([written, wait(200, false)]))) return taken;
  }
}

describe('writer', () => {
  it('sends short and long messages in their order', () =>
    withSeed(async (random) => {
      const [from, to] = await pair();
      const writer = new SocketWriter(from);
      const reader = new SocketReader(to);
      const sent: Buffer[] = [];
      let free = 0;
      let long = 0;
      for (let i = 0; i < 3000; i++) {
        const bytes = pattern(random.between(1, 300));
        bytes[0] = i & 0xff;
        if (random.chance(0.8)) {
          const at = writer.claim(bytes.byteLength);
          writer.slab.set(bytes, at);
          sent.push(bytes);
        } else {
          const large = pattern(random.between(1, 20_000));
          writer.send(large, () => {
            free += 1;
          });
          long += 1;
          sent.push(large);
        }
        if (random.chance(0.02)) await setImmediate();
      }
      const all = Buffer.concat(sent);
      expect((await reader.take(all.byteLength)).equals(all)).toBe(true);
      await writer.flushed();
      expect([free, writer.queuedBytes]).toEqual([long, 0]);
    }));

  it('sends what is queued in a turn together', async () => {
    const [from] = await pair();
    const writer = new SocketWriter(from);
    for (let i = 0; i < 50; i++) writer.slab.fill(i, writer.claim(16), i * 16 + 16);
    expect(from.bytesWritten).toBe(0);
    await setImmediate();
    expect(from.bytesWritten).toBe(800);
  });

  it('is not ready while the peer does not read, and is again when it does', async () => {
    const [from, to] = await pair();
    const writer = new SocketWriter(from);
    await writer.ready();
    for (let i = 0; i < 8; i++) writer.send(pattern(MIB));
    let isReady = false;
    const ready = writer.ready().then(() => {
      isReady = true;
    });
    await turns(100);
    expect(isReady).toBe(false);
    const reader = new SocketReader(to);
    await Promise.all([reader.skip(8 * MIB), ready, writer.flushed()]);
    expect(writer.queuedBytes).toBe(0);
  });

  it('gives TLS little at a time, in order, and tells of each part when its own batch has left', () =>
    withSeed(async (random) => {
      const [from, to] = await pair();
      const batches: number[] = [];
      const write = from.write.bind(from) as (bytes: Uint8Array, ...rest: unknown[]) => boolean;
      const cork = from.cork.bind(from);
      Object.assign(from, {
        encrypted: true,
        cork: () => {
          batches.push(0);
          cork();
        },
        write: (bytes: Uint8Array, ...rest: unknown[]) => {
          batches.push(batches.pop()! + bytes.byteLength);
          return write(bytes, ...rest);
        },
      });
      const writer = new SocketWriter(from);
      const reader = new SocketReader(to);
      const queued: Buffer[] = [];
      const told: [part: number, batches: number][] = [];
      for (let i = 0; i < 60; i++) {
        const bytes = pattern(random.pick([16, random.between(1, MIB), MIB + 28]));
        queued.push(bytes);
        if (bytes.byteLength === 16) writer.slab.set(bytes, writer.claim(16));
        else writer.send(bytes, () => told.push([i, batches.length]));
      }
      const all = Buffer.concat(queued);
      expect(Buffer.compare(await reader.take(all.byteLength), all)).toBe(0);
      await writer.flushed();
      expect(Math.max(...batches)).toBeLessThanOrEqual(MIB + 28);
      expect(batches.reduce((sum, bytes) => sum + bytes)).toBe(all.byteLength);
      expect(told.map(([part]) => part)).toEqual(
        queued.flatMap((bytes, i) => (bytes.byteLength === 16 ? [] : [i])),
      );
      for (const [part, count] of told) {
        const left = batches.slice(0, count).reduce((sum, bytes) => sum + bytes);
        expect(left).toBeGreaterThanOrEqual(Buffer.concat(queued.slice(0, part + 1)).byteLength);
      }
      expect(writer.queuedBytes).toBe(0);
    }));

  it('gives every buffer back, once, when the connection breaks', async () => {
    const [from, to] = await pair();
    const writer = new SocketWriter(from);
    const calls: number[] = [];
    for (let i = 0; i < 20; i++) writer.send(pattern(MIB), () => calls.push(i));
    await turns(10);
    writer.send(pattern(10), () => calls.push(20));
    to.destroy();
    const gone = new Promise<void>((resolve) => from.once('close', () => resolve()));
    await Promise.all([writer.ready(), writer.flushed(), gone]);
    await turns(5);
    expect(calls.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 21 }, (_, i) => i));
    writer.send(pattern(10), () => calls.push(21));
    expect(calls.length).toBe(21);
    await turns(5);
    expect([calls.length, writer.closed, writer.queuedBytes]).toEqual([22, true, 0]);
  });
});
