/** Each command, by a client that says what a test wants, over devices that fail and count. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { CHUNKS, COMMAND_FLAGS, COMMANDS, ERRORS } from '../../../src/nbd/protocol/constants.js';
import { assembled, pattern, type Request } from '../../support/nbd/raw-client.js';
import { served } from '../../support/nbd/served.js';
import { SIZE, stage } from '../../support/nbd/stage.js';

const MIB = 1024 * 1024;
const { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE } = COMMANDS;
const { NBD_CMD_WRITE_ZEROES, NBD_CMD_BLOCK_STATUS } = COMMANDS;
const { NBD_CMD_FLAG_DF, NBD_CMD_FLAG_NO_HOLE } = COMMAND_FLAGS;
const { NBD_EINVAL, NBD_EIO, NBD_ENOSPC, NBD_EPERM, NBD_EOVERFLOW } = ERRORS;

describe.each([false, true])('structured replies: %s', (structured) => {
  const way = structured ? 'structured' : 'simple';

  it('reads what was written, of any size, also across pieces', async () => {
    const { client } = await stage();
    const peer = await client({ structured });
    for (const [offset, length] of [
      [0, 512],
      [4096, 4096],
      [MIB - 512, 1024],
      [3 * MIB + 512, MIB],
      [10 * MIB - 1024, 5 * MIB + 2048],
      [30 * MIB, 64 * MIB],
    ] as const) {
      const data = pattern(length);
      expect((await peer.ask({ command: NBD_CMD_WRITE, offset, data })).error).toBe(0);
      expect((await peer.read(offset, length)).equals(data), `${length} at ${offset}`).toBe(true);
      expect((await peer.read(offset, length, structured ? NBD_CMD_FLAG_DF : 0)).equals(data)).toBe(true);
    }
  });

  it('any bytes, for those who were told of no sizes: what lies around them stays', async () => {
    const { client, device } = await stage();
    const peer = await client({ structured });
    const whole = pattern(5 * MIB);
    await peer.ask({ command: NBD_CMD_WRITE, offset: 0, data: whole });
    for (const [offset, length] of [
      [1, 1],
      [511, 2],
      [513, 511],
      [700, 2000],
      [1, 3 * MIB],
    ] as const) {
      const data = pattern(length + 9).subarray(9);
      await peer.ask({ command: NBD_CMD_WRITE, offset, data });
      data.copy(whole, offset);
      expect((await peer.read(offset, length)).equals(data)).toBe(true);
    }
    await peer.ask({ command: NBD_CMD_WRITE_ZEROES, offset: 1000, length: 5001 });
    await peer.ask({ command: NBD_CMD_WRITE_ZEROES, offset: 8193, length: 3 });
    await peer.ask({
      command: NBD_CMD_WRITE_ZEROES,
      offset: 9001,
      length: 3001,
      flags: NBD_CMD_FLAG_NO_HOLE,
    });
    whole.fill(0, 1000, 6001).fill(0, 8193, 8196).fill(0, 9001, 12002);
    expect((await peer.read(0, whole.byteLength)).equals(whole)).toBe(true);
    expect(device.overlaps).toEqual([]);
  });

  it.each<[string, Request, number]>([
    ['a read beyond the end', { command: NBD_CMD_READ, offset: SIZE - 512, length: 1024 }, NBD_EINVAL],
    ['a read that wraps', { command: NBD_CMD_READ, offset: 2 ** 64 - 2048, length: 4096 }, NBD_EINVAL],
    ['a write beyond the end', { command: NBD_CMD_WRITE, offset: SIZE, data: pattern(512) }, NBD_ENOSPC],
    [
      'a write that wraps',
      { command: NBD_CMD_WRITE, offset: 2 ** 64 - 2048, data: pattern(4096) },
      NBD_ENOSPC,
    ],
    ['a trim beyond the end', { command: NBD_CMD_TRIM, offset: SIZE - 512, length: 1024 }, NBD_EINVAL],
    ['zeroes beyond the end', { command: NBD_CMD_WRITE_ZEROES, offset: 512, length: SIZE }, NBD_ENOSPC],
    ['a cache hint beyond the end', { command: NBD_CMD_CACHE, offset: SIZE, length: 512 }, NBD_EINVAL],
    ['a status without a context', { command: NBD_CMD_BLOCK_STATUS, offset: 0, length: 512 }, NBD_EINVAL],
    ['an unknown command', { command: 99, offset: 0, length: 4096 }, NBD_EINVAL],
    ['an unknown flag', { command: NBD_CMD_READ, length: 512, flags: 1 << 9 }, NBD_EINVAL],
    ['a flag of another command', { command: NBD_CMD_WRITE, data: pattern(512), flags: 2 }, NBD_EINVAL],
    ['a flush of a range', { command: NBD_CMD_FLUSH, offset: 512, length: 512 }, NBD_EINVAL],
    [
      'a write over the largest payload',
      { command: NBD_CMD_WRITE, data: pattern(64 * MIB + 512) },
      NBD_EINVAL,
    ],
    [
      'a read over the largest payload',
      { command: NBD_CMD_READ, length: 64 * MIB + 512 },
      structured ? NBD_EOVERFLOW : NBD_EINVAL,
    ],
  ])('%s is refused, and the next request is heard', async (_what, request, error) => {
    const { client, device } = await stage();
    const peer = await client({ structured });
    const reply = await peer.ask(request);
    expect([reply.error, reply.isStructured]).toEqual([error, structured]);
    if (structured) expect(reply.errors[0]?.message).not.toBe('');
    expect((await peer.read(0, 512)).equals(Buffer.alloc(512))).toBe(true);
    expect(device.counts.writes + device.counts.zeroings + device.counts.trims).toBe(0);
  });

  it.each([
    { command: NBD_CMD_WRITE, data: pattern(4096) },
    { command: NBD_CMD_TRIM, length: 4096 },
    { command: NBD_CMD_WRITE_ZEROES, length: 4096 },
  ])('command $command to a read-only export is EPERM, its payload read past', async (request) => {
    const { client, device } = await stage({ readOnly: true });
    const peer = await client({ structured });
    expect((await peer.ask(request)).error).toBe(NBD_EPERM);
    expect((await peer.ask({ command: NBD_CMD_FLUSH })).error).toBe(0);
    expect(device.counts).toMatchObject({ writes: 0, trims: 0, zeroings: 0 });
  });

  it.each([
    ['IO_ERROR', NBD_EIO],
    ['NO_SPACE', NBD_ENOSPC],
    ['PERMISSION_DENIED', NBD_EPERM],
  ] as const)('a device that fails with %s: the client is told and goes on', async (code, error) => {
    const { client, device } = await stage();
    const peer = await client({ structured });
    const undo = device.addRule({ code });
    for (const command of [NBD_CMD_READ, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES])
      expect((await peer.ask({ command, offset: 512, length: 512 })).error).toBe(error);
    expect((await peer.ask({ command: NBD_CMD_WRITE, data: pattern(512) })).error).toBe(error);
    expect((await peer.ask({ command: NBD_CMD_WRITE, data: pattern(5 * MIB) })).error).toBe(error);
    undo();
    await peer.ask({ command: NBD_CMD_WRITE, data: pattern(512) });
    expect((await peer.read(0, 512)).equals(pattern(512))).toBe(true);
  });

  it('a failure in the middle of a large write is the answer to it', async () => {
    const { client, device, server } = await stage();
    const peer = await client({ structured });
    device.addRule({ operations: ['write'], range: { offset: 7 * MIB, length: 512 } });
    expect((await peer.ask({ command: NBD_CMD_WRITE, data: pattern(20 * MIB) })).error).toBe(NBD_EIO);
    expect((await peer.read(0, 512)).equals(pattern(512))).toBe(true);
    expect(server.status().exports[0]?.counters.errors).toBe(1);
  });

  it('requests of no bytes do nothing and are answered', async () => {
    const { client, device } = await stage();
    const peer = await client({ structured });
    for (const command of [NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES, NBD_CMD_CACHE])
      expect((await peer.ask({ command, offset: SIZE, length: 0 })).error, `${way} ${command}`).toBe(0);
    expect(device.counts).toMatchObject({ reads: 0, writes: 0, trims: 0, zeroings: 0 });
  });

  it('answers hundreds of requests in flight, each under its own cookie', async () => {
    const { client, server } = await stage();
    const peer = await client({ structured });
    const whole = pattern(1000 * 4096);
    await peer.ask({ command: NBD_CMD_WRITE, data: whole });
    for (let i = 0; i < 1000; i++)
      peer.post({ command: NBD_CMD_READ, offset: i * 4096, length: 4096, cookie: 0xfffff000 + i });
    const replies = await peer.replies(1000);
    for (let i = 0; i < 1000; i++) {
      const reply = replies.get(0xfffff000 + i)!;
      expect(assembled(reply, i * 4096, 4096).equals(whole.subarray(i * 4096, (i + 1) * 4096))).toBe(true);
    }
    expect(server.status()).toMatchObject({ heldBytes: 0, connections: [{ counters: { inFlight: 0 } }] });
  });
});

describe('read', () => {
  it('in structured replies tells holes and sends data', async () => {
    const { client } = await stage();
    const peer = await client({ structured: true });
    const data = pattern(64 * 1024);
    await peer.ask({ command: NBD_CMD_WRITE, offset: 128 * 1024, data });
    const reply = await peer.ask({ command: NBD_CMD_READ, offset: 0, length: 3 * MIB });
    expect(reply.holes.reduce((sum, hole) => sum + hole.length, 0)).toBe(3 * MIB - data.byteLength);
    expect(reply.data.map(({ offset }) => offset)).toEqual([128 * 1024]);
    const small = await peer.ask({ command: NBD_CMD_READ, offset: 64 * 1024, length: 128 * 1024 });
    expect(small.holes).toEqual([{ offset: 64 * 1024, length: 64 * 1024 }]);
    const unfragmented = await peer.ask({
      command: NBD_CMD_READ,
      offset: 64 * 1024,
      length: 128 * 1024,
      flags: NBD_CMD_FLAG_DF,
    });
    expect(unfragmented).toMatchObject({ holes: [], data: [{ offset: 64 * 1024 }] });
  });

  it('that fails half way: structured, an error with the place and what was read before it', async () => {
    const { client, device } = await stage();
    const peer = await client({ structured: true });
    const data = pattern(8 * MIB);
    await peer.ask({ command: NBD_CMD_WRITE, data });
    device.addRule({ operations: ['read'], range: { offset: 5 * MIB + 4096, length: 512 } });
    for (const flags of [0, NBD_CMD_FLAG_DF]) {
      const reply = await peer.ask({ command: NBD_CMD_READ, length: 8 * MIB, flags });
      expect(reply.errors).toMatchObject([{ error: NBD_EIO, offset: 5 * MIB }]);
      expect(reply.chunkTypes).toContain(CHUNKS.NBD_REPLY_TYPE_ERROR_OFFSET);
      for (const { offset, bytes } of reply.data) {
        const good = Math.min(bytes.byteLength, 5 * MIB - offset);
        expect(bytes.subarray(0, good).equals(data.subarray(offset, offset + good))).toBe(true);
        expect(bytes.subarray(good).every((byte) => byte === 0)).toBe(true);
      }
    }
    expect((await peer.read(0, 4096)).equals(data.subarray(0, 4096))).toBe(true);
  });

  it('that fails half way: simple, nothing can be told but by closing', async () => {
    const { client, device } = await stage();
    const peer = await client({});
    device.addRule({ operations: ['read'], range: { offset: 5 * MIB, length: 512 } });
    peer.post({ command: NBD_CMD_READ, length: 8 * MIB });
    expect(await peer.ended()).toBeLessThanOrEqual(16 + 5 * MIB);
  });

  it('large simple ones do not tear the replies to others', async () => {
    const { client } = await stage();
    const peer = await client({});
    const data = pattern(6 * MIB);
    await peer.ask({ command: NBD_CMD_WRITE, data });
    const large = [1, 2, 3].map((i) =>
      peer.post({ command: NBD_CMD_READ, offset: i * 512, length: 5 * MIB }),
    );
    const small = Array.from({ length: 50 }, (_, i) =>
      peer.post({ command: NBD_CMD_READ, offset: i * 4096, length: 4096 }),
    );
    const replies = await peer.replies(53);
    for (const [i, cookie] of large.entries()) {
      const start = (i + 1) * 512;
      const bytes = assembled(replies.get(cookie)!, start, 5 * MIB);
      expect(bytes.equals(data.subarray(start, start + 5 * MIB))).toBe(true);
    }
    for (const [i, cookie] of small.entries())
      expect(replies.get(cookie)!.data[0]!.bytes.equals(data.subarray(i * 4096, (i + 1) * 4096))).toBe(true);
  });

  it('without structured replies DF is a flag that is not there', async () => {
    const peer = await (await stage()).client({});
    expect((await peer.ask({ command: NBD_CMD_READ, length: 512, flags: NBD_CMD_FLAG_DF })).error).toBe(
      NBD_EINVAL,
    );
  });
});

describe('sizes that were agreed on', () => {
  it.each([NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES])(
    'command %i that does not keep them is EINVAL',
    async (command) => {
      const peer = await (await stage()).client({ asksSizes: true });
      const payload = command === NBD_CMD_WRITE ? { data: pattern(512) } : { length: 512 };
      expect((await peer.ask({ command, offset: 1, ...payload })).error).toBe(NBD_EINVAL);
      expect((await peer.ask({ command, offset: 512, ...payload })).error).toBe(0);
    },
  );
});

it('what is thrown and is no error of the device is reported; the client sees an I/O error and goes on', async () => {
  const device = new MemoryDevice(MIB);
  const fault = new TypeError('ours');
  device.trim = () => Promise.reject(fault);
  const { client, faults } = await served([{ name: 'a', device }]);
  const peer = await client({});
  expect((await peer.ask({ command: NBD_CMD_TRIM, length: 512 })).error).toBe(NBD_EIO);
  expect((await peer.read(0, 512)).byteLength).toBe(512);
  expect(faults.splice(0)).toEqual([fault]);
});
