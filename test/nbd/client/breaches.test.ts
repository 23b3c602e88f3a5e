/** Servers that break the protocol while requests are in flight: the connection ends, and nobody waits for ever. */
import { expect, it } from 'vitest';
import { CHUNKS, COMMANDS, REPLY_FLAGS } from '../../../src/nbd/protocol/constants.js';
import {
  type Cookie,
  encodeBlockStatus,
  encodeChunkError,
  encodeChunkHeader,
  encodeHole,
  encodeOffset,
  encodeSimpleReply,
  type RequestHeader,
} from '../../../src/nbd/protocol/transmission.js';
import { errorOf, expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { ToyPlace } from './toy-place.js';

const LENGTH = 4096;
const OFFSET = 8192;
const DONE = REPLY_FLAGS.NBD_REPLY_FLAG_DONE;

function chunk(
  cookie: Cookie,
  flags: number,
  type: number,
  payload: Buffer = Buffer.alloc(0),
  length = payload.length,
) {
  const header = Buffer.alloc(20);
  encodeChunkHeader(header, 0, cookie, flags, type, length);
  return Buffer.concat([header, payload]);
}

function data(cookie: Cookie, offset: number, length: number, flags = 0): Buffer {
  const payload = Buffer.alloc(8 + length);
  encodeOffset(payload, 0, offset);
  return chunk(cookie, flags, CHUNKS.NBD_REPLY_TYPE_OFFSET_DATA, payload);
}

function hole(cookie: Cookie, offset: number, length: number, flags = 0): Buffer {
  const payload = Buffer.alloc(12);
  encodeHole(payload, 0, { offset, length });
  return chunk(cookie, flags, CHUNKS.NBD_REPLY_TYPE_OFFSET_HOLE, payload);
}

function simple(cookie: Cookie, error: number): Buffer {
  const reply = Buffer.alloc(16);
  encodeSimpleReply(reply, 0, cookie, error);
  return reply;
}

type Breach = (request: RequestHeader) => Buffer;

it.each<[string, Breach, string]>([
  ['no magic', () => Buffer.alloc(64, 1), 'a reply begins with'],
  ['a cookie of nobody', (r) => data({ ...r, cookieLow: r.cookieLow + 7 }, OFFSET, LENGTH), 'not in flight'],
  ['a cookie beyond 32 bits', (r) => data({ ...r, cookieHigh: 1 }, OFFSET, LENGTH), 'not in flight'],
  ['a type that is not known', (r) => chunk(r, 0, 99, Buffer.alloc(8)), 'type 99'],
  ['data before the range', (r) => data(r, OFFSET - 512, LENGTH), 'not asked for'],
  ['data beyond the range', (r) => data(r, OFFSET + 512, LENGTH), 'not asked for'],
  [
    'data of 4 GiB',
    (r) => chunk(r, 0, CHUNKS.NBD_REPLY_TYPE_OFFSET_DATA, Buffer.alloc(8), 2 ** 32 - 1),
    'not asked',
  ],
  ['no data in data', (r) => chunk(r, 0, CHUNKS.NBD_REPLY_TYPE_OFFSET_DATA, Buffer.alloc(8)), 'with 8 bytes'],
  ['data twice', (r) => Buffer.concat([data(r, OFFSET, 512), data(r, OFFSET + 256, 512)]), 'came twice'],
  ['all of it twice', (r) => Buffer.concat([data(r, OFFSET, LENGTH), hole(r, OFFSET, LENGTH)]), 'came twice'],
  ['a hole beyond the range', (r) => hole(r, OFFSET, LENGTH * 2), 'not asked for'],
  ['a hole of nothing', (r) => hole(r, OFFSET, 0), 'not asked for'],
  ['too little', (r) => data(r, OFFSET, LENGTH - 512, DONE), 'ended after 3584 of 4096 bytes'],
  ['nothing at all', (r) => chunk(r, DONE, CHUNKS.NBD_REPLY_TYPE_NONE), 'ended after 0 of 4096 bytes'],
  [
    'a payload in nothing',
    (r) => chunk(r, DONE, CHUNKS.NBD_REPLY_TYPE_NONE, Buffer.alloc(4)),
    'with 4 bytes',
  ],
  ['a simple reply', (r) => simple(r, 0), 'a simple reply'],
  [
    'an error chunk without end',
    (r) => chunk(r, 0, CHUNKS.NBD_REPLY_TYPE_ERROR, Buffer.alloc(0), 2 ** 31),
    'error chunk',
  ],
  [
    'an error chunk too short',
    (r) => chunk(r, DONE, CHUNKS.NBD_REPLY_TYPE_ERROR, Buffer.alloc(2)),
    'error chunk',
  ],
  [
    'a status that nobody asked for',
    (r) =>
      chunk(
        r,
        0,
        CHUNKS.NBD_REPLY_TYPE_BLOCK_STATUS,
        encodeBlockStatus({ contextId: 7, descriptors: [{ length: 1, flags: 0 }] }),
      ),
    'nobody asked',
  ],
])('a read that is answered with %s', async (_what, breach, text) => {
  const place = await ToyPlace.serving({
    fateOf: (request) => (request.offset === OFFSET ? { bytes: breach(request) } : 'answer'),
  });
  const device = await place.open({ reconnect: { tries: 1, pauseMs: 1 } });
  const error = await errorOf(device.read(OFFSET, new Uint8Array(LENGTH)));
  expect(error.message).toContain(text);
  expect(place.server.connections).toBe(2);
});

it('a broken answer once is no more than a lost connection, and what was kept is there', async () => {
  let broken = false;
  const place = await ToyPlace.serving({
    fateOf: ({ command }) => {
      if (command !== COMMANDS.NBD_CMD_READ || broken) return 'answer';
      broken = true;
      return { bytes: Buffer.alloc(100, 3) };
    },
  });
  const device = await place.open();
  await device.write(0, pattern(4096, 1));
  const other = readAt(device, 8192, 4096);
  expectSame(await readAt(device, 0, 4096), pattern(4096, 1));
  expectSame(await other, new Uint8Array(4096));
  expect(place.server.count(COMMANDS.NBD_CMD_WRITE)).toBe(2);
});

it('an error chunk of an unknown type is an error, and the connection goes on', async () => {
  const place = await ToyPlace.serving({
    fateOf: (request) => {
      if (request.offset !== OFFSET) return 'answer';
      const { payload } = encodeChunkError({ error: 5, message: 'no such\nluck' });
      return { bytes: Buffer.concat([data(request, OFFSET, 512), chunk(request, DONE, 0x8042, payload)]) };
    },
  });
  const device = await place.open();
  const error = await errorOf(device.read(OFFSET, new Uint8Array(LENGTH)));
  expect(error.message).toContain('the server answered EIO (no such luck)');
  expect(error.fault).toMatchObject({ operation: 'read', offset: OFFSET, length: LENGTH });
  await readAt(device, 0, 4096);
  expect(place.server.connections).toBe(1);
});

it('pieces of a read in any order, holes among them, make the whole', async () => {
  const place = await ToyPlace.serving({
    fateOf: (request) => {
      const bytes = [
        hole(request, OFFSET + 3584, 512),
        data(request, OFFSET, 1024),
        hole(request, OFFSET + 1024, 2560),
      ];
      return { bytes: Buffer.concat([...bytes, chunk(request, DONE, CHUNKS.NBD_REPLY_TYPE_NONE)]) };
    },
  });
  const device = await place.open();
  const into = [new Uint8Array(1000).fill(1), new Uint8Array(3096).fill(1)];
  await device.read(OFFSET, into);
  expectSame(Buffer.concat(into), new Uint8Array(LENGTH));
});

it.each<[string, [number, number][], [number, number, string][]]>([
  ['less than was asked for', [[1024, 0]], [[0, 4096, 'data']]],
  ['more than was asked for', [[2 ** 31, 3]], [[0, 4096, 'hole']]],
  ['a hole that does not read as zeroes', [[4096, 1]], [[0, 4096, 'data']]],
  [
    'zeroes that are allocated',
    [
      [1024, 2],
      [3072, 0],
    ],
    [
      [0, 1024, 'zero'],
      [1024, 3072, 'data'],
    ],
  ],
  [
    'ends within blocks',
    [
      [700, 3],
      [1000, 2],
      [2396, 0],
    ],
    [
      [0, 512, 'hole'],
      [512, 512, 'data'],
      [1024, 512, 'zero'],
      [1536, 2560, 'data'],
    ],
  ],
  [
    'neighbours of one kind',
    [
      [512, 3],
      [512, 3],
      [3072, 7],
    ],
    [[0, 4096, 'hole']],
  ],
  ['a little at a time, within blocks', [[100, 3]], [[0, 4096, 'data']]],
])('a status with %s', async (_what, told, wanted) => {
  const place = await ToyPlace.serving({
    fateOf: (request) => {
      const descriptors = told.map(([length, flags]) => ({ length, flags }));
      const payload = encodeBlockStatus({ contextId: 7, descriptors });
      return { bytes: chunk(request, DONE, CHUNKS.NBD_REPLY_TYPE_BLOCK_STATUS, payload) };
    },
  });
  const device = await place.open();
  const extents = await device.extents(OFFSET, LENGTH);
  expect(extents.map(({ offset, length, kind }) => [offset - OFFSET, length, kind])).toEqual(wanted);
});
