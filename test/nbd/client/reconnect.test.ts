/** A server that dies and comes back without what it had not flushed: what is sent again, and in which order. */
import { describe, expect, it } from 'vitest';
import { COMMAND_FLAGS, COMMANDS, ERRORS, nameOf } from '../../../src/nbd/protocol/constants.js';
import { errorOf, expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { SeededRandom } from '../../support/devices/seeded-random.js';
import { ToyPlace } from './toy-place.js';
import type { Fate } from './toy-server.js';

const { NBD_CMD_FLUSH, NBD_CMD_READ, NBD_CMD_WRITE } = COMMANDS;

/** Dies at the nth of such requests, once. */
function dyingAt(command: number, nth: number, fate: Fate = 'die before') {
  let count = 0;
  return (request: { command: number }): Fate => {
    if (request.command !== command) return 'answer';
    count += 1;
    return count === nth ? fate : 'answer';
  };
}

/** What a server was asked, without reads. */
function changes(place: ToyPlace): string[] {
  return place.server.requests
    .filter(({ command }) => command !== NBD_CMD_READ)
    .map(({ command, offset, length }) => `${nameOf(COMMANDS, command).slice(8)} ${offset}+${length}`);
}

describe('what was acknowledged and not flushed', () => {
  it('is there again after a crash, and durable after a flush', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open();
    await device.write(4096, pattern(8192, 1));
    await device.writeZeroes(8192, 1024);
    await place.crash();
    await place.serve();
    const wanted = pattern(8192, 1).fill(0, 4096, 5120);
    expectSame(await readAt(device, 4096, 8192), wanted);
    await device.flush();
    expectSame((await place.durable()).subarray(4096, 12288), wanted);
  });

  it('is sent again before anything new, and not if it was flushed', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open();
    await device.write(0, pattern(512, 1));
    await device.flush();
    await device.write(512, pattern(512, 2));
    await device.trim(4096, 4096);
    await place.crash();
    const server = await place.serve();
    await device.write(1024, pattern(512, 3));
    expect(changes(place)).toEqual(['WRITE 512+512', 'TRIM 4096+4096', 'WRITE 1024+512']);
    expect(server.connections).toBe(1);
    expectSame(await readAt(device, 0, 512), pattern(512, 1));
  });

  it('keeps its order where it overlaps', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open();
    const content = new Uint8Array(16384);
    for (let i = 0; i < 40; i++) {
      const offset = ((i * 7) % 24) * 512;
      await device.write(offset, pattern(4096, i));
      content.set(pattern(4096, i), offset);
    }
    await place.crash();
    await place.serve({ delay: { random: new SeededRandom(1), maxTurns: 20 } });
    expectSame(await readAt(device, 0, content.byteLength), content);
  });

  it('never lies on top of what was written with fua', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open();
    await device.write(0, pattern(4096, 1));
    await device.write(1024, pattern(1024, 2), { fua: true });
    await place.crash();
    await place.serve();
    const wanted = pattern(4096, 1);
    wanted.set(pattern(1024, 2), 1024);
    expectSame(await readAt(device, 0, 4096), wanted);
    expect(changes(place)).toEqual(['WRITE 0+1024', 'WRITE 2048+2048']);
  });

  it('is sent again though nobody asks for anything', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open();
    await device.write(0, pattern(4096, 1));
    await place.crash();
    const sentAgain = new Promise<void>((resolve) => {
      void place.serve({
        fateOf: () => {
          resolve();
          return 'answer';
        },
      });
    });
    await sentAgain;
    expect(changes(place)).toEqual(['WRITE 0+4096']);
  });

  it('is sent again from the start when the next server dies in the middle of it', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open();
    for (let i = 0; i < 10; i++) await device.write(i * 4096, pattern(4096, i));
    await place.crash();
    const dying = await place.serve({ fateOf: dyingAt(NBD_CMD_WRITE, 5, 'die after') });
    const reading = readAt(device, 0, 40960);
    await new Promise((resolve) => dying.server.once('close', resolve));
    await place.crash();
    await place.serve();
    const content = await reading;
    for (let i = 0; i < 10; i++) expectSame(content.subarray(i * 4096, (i + 1) * 4096), pattern(4096, i));
  });
});

describe('what was in flight', () => {
  it.each(['die before', 'die after'] as const)('is sent again (%s it was done)', async (fate) => {
    const place = await ToyPlace.serving({ fateOf: dyingAt(NBD_CMD_WRITE, 5, fate) });
    const device = await place.open();
    const dead = new Promise((resolve) => place.server.server.once('close', resolve));
    const writes = Array.from({ length: 20 }, (_, i) => device.write(i * 4096, pattern(4096, i)));
    const reads = Array.from({ length: 20 }, (_, i) => readAt(device, (i + 100) * 4096, 4096));
    await dead;
    await place.crash();
    await place.serve();
    await Promise.all(writes);
    for (const read of reads) expectSame(await read, new Uint8Array(4096));
    for (let i = 0; i < 20; i++) expectSame(await readAt(device, i * 4096, 4096), pattern(4096, i));
  });

  it.each(['die before', 'die after'] as const)(
    'a flush comes after all that it covers (%s it was done)',
    async (fate) => {
      const place = await ToyPlace.serving({ fateOf: dyingAt(NBD_CMD_FLUSH, 1, fate) });
      const device = await place.open();
      await device.write(0, pattern(4096, 1));
      const dead = new Promise((resolve) => place.server.server.once('close', resolve));
      const flushed = device.flush();
      await dead;
      await place.crash();
      await place.serve();
      await flushed;
      expect(changes(place)).toEqual(['WRITE 0+4096', 'FLUSH 0+0']);
      expectSame((await place.durable()).subarray(0, 4096), pattern(4096, 1));
    },
  );

  it('a write with fua is sent again with fua', async () => {
    const place = await ToyPlace.serving({ fateOf: dyingAt(NBD_CMD_WRITE, 1) });
    const device = await place.open();
    const dead = new Promise((resolve) => place.server.server.once('close', resolve));
    const written = device.write(0, pattern(4096, 1), { fua: true });
    await dead;
    await place.crash();
    await place.serve();
    await written;
    expect(place.server.requests[0]!.flags & COMMAND_FLAGS.NBD_CMD_FLAG_FUA).not.toBe(0);
    expectSame((await place.durable()).subarray(0, 4096), pattern(4096, 1));
  });

  it('goes to the next server when one says that it is shutting down', async () => {
    const place = await ToyPlace.serving({
      fateOf: dyingAt(NBD_CMD_WRITE, 2, { error: ERRORS.NBD_ESHUTDOWN }),
    });
    const device = await place.open();
    await device.write(0, pattern(4096, 1));
    await device.write(4096, pattern(4096, 2));
    expect(place.server.connections).toBe(2);
    expectSame(await readAt(device, 4096, 4096), pattern(4096, 2));
  });

  it('goes to the next connection when a server is silent for too long', async () => {
    const place = await ToyPlace.serving({ fateOf: dyingAt(NBD_CMD_READ, 1, 'silence') });
    const device = await place.open({ answerTimeoutMs: 50 });
    await device.write(0, pattern(4096, 1));
    expectSame(await readAt(device, 0, 4096), pattern(4096, 1));
    expect(place.server.connections).toBe(2);
  });
});

it('a server that was started anew while nothing was asked is found by the next call', async () => {
  const place = await ToyPlace.serving();
  const device = await place.open({ reconnect: { tries: 1 } });
  await device.write(0, pattern(4096, 1));
  await device.flush();
  for (let i = 0; i < 3; i++) {
    await place.crash();
    await place.serve();
    expectSame(await readAt(device, 0, 4096), pattern(4096, 1));
  }
});

it('flushes by itself before what is kept takes more than it may, and not more often than that', async () => {
  const place = await ToyPlace.serving();
  const limit = 128 * 1024;
  const device = await place.open({ unflushedLimitBytes: limit });
  const total = 8 * limit;
  for (let at = 0; at < total; at += 4096) await device.write(at % (512 * 1024), pattern(4096, at / 4096));
  const flushes = place.server.count(NBD_CMD_FLUSH);
  expect(flushes).toBeGreaterThanOrEqual(total / limit - 1);
  expect(flushes).toBeLessThanOrEqual(2 * (total / (limit / 2)));
  const kept = device.unflushedRanges().reduce((sum, { start, end }) => sum + end - start, 0);
  expect(kept).toBeLessThanOrEqual(limit);
});

it('a large write fits through little room', async () => {
  const place = await ToyPlace.serving();
  const device = await place.open({ unflushedLimitBytes: 64 * 1024 });
  await device.write(0, pattern(1024 * 1024, 3));
  expectSame(await readAt(device, 0, 1024 * 1024), pattern(1024 * 1024, 3));
});

it('closes while its server is away', async () => {
  const place = await ToyPlace.serving();
  const device = await place.open();
  await device.write(512, pattern(512, 1));
  await place.crash();
  await device.close();
  expect(device.unflushedRanges()).toEqual([{ start: 512, end: 1024 }]);
  expect((await errorOf(device.flush())).message).toContain('closed');
});
