/** What requests do to devices, and how a connection ends, by a client that says what a test wants. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { CHUNKS, COMMAND_FLAGS, COMMANDS, ERRORS, OPTIONS } from '../../../src/nbd/protocol/constants.js';
import { encodeInfoRequest, encodeMetaContextRequest } from '../../../src/nbd/protocol/option-data.js';
import type { Export } from '../../../src/nbd/server/export.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';
import { pattern, type Request } from '../../support/nbd/raw-client.js';
import { served } from '../../support/nbd/served.js';
import { SIZE, stage } from '../../support/nbd/stage.js';

const MIB = 1024 * 1024;
const { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_DISC, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE } = COMMANDS;
const { NBD_CMD_WRITE_ZEROES, NBD_CMD_BLOCK_STATUS } = COMMANDS;
const { NBD_CMD_FLAG_FUA, NBD_CMD_FLAG_NO_HOLE, NBD_CMD_FLAG_FAST_ZERO, NBD_CMD_FLAG_REQ_ONE } =
  COMMAND_FLAGS;
const { NBD_EINVAL, NBD_EIO, NBD_ENOTSUP } = ERRORS;

describe('trim and zeroes', () => {
  it('an unaligned trim drops whole blocks and leaves the rest', async () => {
    const { client, device } = await stage();
    const peer = await client({});
    const data = pattern(32 * 1024);
    await peer.ask({ command: NBD_CMD_WRITE, data });
    expect((await peer.ask({ command: NBD_CMD_TRIM, offset: 5000, length: 9000 })).error).toBe(0);
    expect((await peer.ask({ command: NBD_CMD_TRIM, offset: 20001, length: 100 })).error).toBe(0);
    const left = await peer.read(0, 32 * 1024);
    expect(left.subarray(0, 5000).equals(data.subarray(0, 5000))).toBe(true);
    expect(left.subarray(14000).equals(data.subarray(14000))).toBe(true);
    expect(device.counts.trims).toBe(1);
  });

  it('NO_HOLE writes zeroes, and they are allocated', async () => {
    const { client, device, memory } = await stage();
    const peer = await client({});
    const flags = NBD_CMD_FLAG_NO_HOLE;
    await peer.ask({ command: NBD_CMD_WRITE_ZEROES, offset: 4096, length: 9 * MIB, flags });
    expect(await memory.extents(4096, 9 * MIB)).toEqual([{ offset: 4096, length: 9 * MIB, kind: 'data' }]);
    expect(device.counts.zeroings).toBe(0);
    await peer.ask({ command: NBD_CMD_WRITE_ZEROES, offset: 4096, length: 9 * MIB });
    expect(device.counts.zeroings).toBe(1);
    expect(memory.allocatedBytes).toBe(0);
  });

  it.each([
    [true, NBD_CMD_FLAG_FAST_ZERO, 0],
    [true, NBD_CMD_FLAG_FAST_ZERO | NBD_CMD_FLAG_NO_HOLE, NBD_ENOTSUP],
    [false, NBD_CMD_FLAG_FAST_ZERO, NBD_ENOTSUP],
    [false, 0, 0],
  ])('a device that zeroes fast (%s), flags %i: %i', async (zeroesFast, flags, error) => {
    const { client, device } = await stage({ zeroesFast });
    const peer = await client({});
    expect((await peer.ask({ command: NBD_CMD_WRITE_ZEROES, length: MIB, flags })).error).toBe(error);
    expect(device.counts.zeroings).toBe(error === 0 ? 1 : 0);
  });
});

describe('a cache hint', () => {
  it('reads what it names, whole, and sends none of it', async () => {
    const { client, device } = await stage();
    const peer = await client({});
    const { error } = await peer.ask({ command: NBD_CMD_CACHE, offset: 4096, length: 3 * MIB + 512 });
    expect([error, device.counts.readBytes]).toEqual([0, 3 * MIB + 512]);
  });

  it('of what cannot be read is an error, and the next request is heard', async () => {
    const { client, device } = await stage();
    const peer = await client({});
    device.addRule({ operations: ['read'], range: { offset: 2 * MIB, length: 512 } });
    const hint = { command: NBD_CMD_CACHE, offset: 0, length: 4 * MIB };
    expect((await peer.ask(hint)).error).toBe(NBD_EIO);
    expect((await peer.ask({ command: NBD_CMD_READ, length: 512 })).error).toBe(0);
  });
});

describe('durability', () => {
  const changes: Request[] = [
    { command: NBD_CMD_WRITE, data: pattern(4096) },
    { command: NBD_CMD_WRITE, data: pattern(3 * MIB) },
    { command: NBD_CMD_WRITE_ZEROES, length: 4096 },
    { command: NBD_CMD_WRITE_ZEROES, length: 4096, flags: NBD_CMD_FLAG_NO_HOLE },
    { command: NBD_CMD_TRIM, length: 4096 },
  ];

  /** What of a device's content would be lost with the power now, in sectors. */
  async function volatileAfter(request: Request, options: Partial<Export>): Promise<number> {
    const device = new VolatileDevice(SIZE);
    await device.write(0, pattern(4 * MIB));
    await device.flush();
    const { client } = await served([{ name: 'a', device, ...options }]);
    expect((await (await client({})).ask(request)).error).toBe(0);
    return device.volatileSectors;
  }

  it.each(changes)('writeback: $command is answered when the device has it', async (request) => {
    expect(await volatileAfter(request, { cache: 'writeback' })).toBeGreaterThan(0);
  });

  it.each(changes)('writethrough: $command is on disk when it is answered', async (request) => {
    expect(await volatileAfter(request, { cache: 'writethrough' })).toBe(0);
  });

  it.each(changes)('FUA: $command is on disk when it is answered', async (request) => {
    const fua = { ...request, flags: (request.flags ?? 0) | NBD_CMD_FLAG_FUA };
    expect(await volatileAfter(fua, { cache: 'writeback' })).toBe(0);
  });

  it('a flush on one connection covers what was answered on another', async () => {
    const device = new VolatileDevice(SIZE);
    const { client } = await served([{ name: 'a', device }]);
    const writer = await client({});
    await writer.ask({ command: NBD_CMD_WRITE, data: pattern(8192) });
    expect(device.volatileSectors).toBe(16);
    expect((await (await client({})).ask({ command: NBD_CMD_FLUSH })).error).toBe(0);
    expect(device.volatileSectors).toBe(0);
  });

  it('a flush that fails is told, and so is every later one', async () => {
    const { client, device } = await stage();
    const peer = await client({});
    device.addRule({ operations: ['flush'], nth: 1 });
    expect((await peer.ask({ command: NBD_CMD_FLUSH })).error).toBe(NBD_EIO);
    expect((await peer.ask({ command: NBD_CMD_FLUSH })).error).toBe(NBD_EIO);
    expect((await peer.ask({ command: NBD_CMD_READ, length: 512 })).error).toBe(0);
  });
});

describe('block status', () => {
  const SPARSE: Request[] = [
    { command: NBD_CMD_WRITE, offset: 64 * 1024, data: pattern(8192) },
    { command: NBD_CMD_WRITE, offset: 50 * MIB, data: pattern(4096) },
  ];
  const contexts = ['base:allocation'];

  async function asked(request: Omit<Request, 'command'>) {
    const peer = await (await stage()).client({ structured: true, contexts });
    for (const write of SPARSE) await peer.ask(write);
    const reply = await peer.ask({ command: NBD_CMD_BLOCK_STATUS, ...request });
    return { reply, extents: reply.status.get(1)?.map(({ length, flags }) => [length, flags]) };
  }

  it('says what is data and what is not, in one chunk', async () => {
    const { reply, extents } = await asked({ offset: 0, length: SIZE });
    expect(reply.chunkTypes).toEqual([CHUNKS.NBD_REPLY_TYPE_BLOCK_STATUS]);
    expect(extents).toEqual([
      [64 * 1024, 3],
      [8192, 0],
      [50 * MIB - 72 * 1024, 3],
      [4096, 0],
      [50 * MIB - 4096, 3],
    ]);
  });

  it('of any bytes', async () => {
    const { extents } = await asked({ offset: 64 * 1024 + 1, length: 8192 });
    expect(extents).toEqual([
      [8191, 0],
      [1, 3],
    ]);
  });

  it('with REQ_ONE one extent, no longer than was asked for', async () => {
    const flags = NBD_CMD_FLAG_REQ_ONE;
    expect((await asked({ offset: 70 * MIB, length: 30 * MIB, flags })).extents).toEqual([[30 * MIB, 3]]);
    expect((await asked({ offset: 64 * 1024, length: MIB, flags })).extents).toEqual([[8192, 0]]);
  });

  it.each([
    [0, 0],
    [0, SIZE + 512],
    [SIZE, 512],
    [512, 0xffffffff],
    [2 ** 64 - 2048, 4096],
  ])('of [%i, +%i) is refused', async (offset, length) => {
    expect((await asked({ offset, length })).reply.error).toBe(NBD_EINVAL);
  });

  it('of 0xffffffff bytes, where there are as many', async () => {
    const { client } = await served([{ name: 'a', device: new MemoryDevice(2 ** 40) }]);
    const peer = await client({ structured: true, contexts });
    const reply = await peer.ask({ command: NBD_CMD_BLOCK_STATUS, offset: 2 ** 33, length: 0xffffffff });
    expect(reply.status.get(1)).toEqual([{ length: 0xffffffff, flags: 3 }]);
  });

  it('has a chunk for each context, and ends early where there is too much to tell', async () => {
    const device = new MemoryDevice(SIZE);
    for (let at = 0; at < 90 * MIB; at += 8192) await device.write(at, pattern(512));
    const bitmap = {
      name: 'qemu:dirty-bitmap:b',
      status: async (_offset: number, length: number) => [{ length, flags: 1 }],
    };
    const { client } = await served([{ name: 'a', device, contexts: () => [bitmap] }]);
    const peer = await client({ structured: true, contexts: [...contexts, bitmap.name] });
    const reply = await peer.ask({ command: NBD_CMD_BLOCK_STATUS, offset: 0, length: SIZE });
    expect(reply.status.get(2)).toEqual([{ length: SIZE, flags: 1 }]);
    const told = reply.status.get(1)!;
    expect(told.length).toBe(8192);
    expect(told.every(({ length, flags }, i) => length === 4096 && flags === (i % 2 === 0 ? 0 : 3))).toBe(
      true,
    );
  });

  it('contexts hold for the export that they were selected for', async () => {
    const { greeted } = await served([
      { name: 'a', device: new MemoryDevice(MIB) },
      { name: 'b', device: new MemoryDevice(MIB) },
    ]);
    const peer = await greeted();
    await peer.begin({ name: 'a', structured: true, contexts }).then(() => peer.close());
    const other = await greeted();
    await other.accepted(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
    await other.accepted(
      OPTIONS.NBD_OPT_SET_META_CONTEXT,
      encodeMetaContextRequest({ name: 'a', queries: contexts }),
    );
    await other.accepted(OPTIONS.NBD_OPT_GO, encodeInfoRequest({ name: 'b', infos: [] }));
    expect((await other.ask({ command: NBD_CMD_BLOCK_STATUS, length: 512 })).error).toBe(NBD_EINVAL);
  });
});

describe('the end', () => {
  it('DISC: what is in flight is done and answered, then the server closes', async () => {
    const { client, memory, server } = await stage();
    const peer = await client({});
    const data = pattern(3 * MIB);
    const cookie = peer.post({ command: NBD_CMD_WRITE, data });
    peer.post({ command: NBD_CMD_DISC });
    expect((await peer.reply()).cookie).toBe(cookie);
    expect(await peer.ended()).toBe(0);
    const written = Buffer.alloc(data.byteLength);
    await memory.read(0, written);
    expect(written.equals(data)).toBe(true);
    await expect.poll(() => server.status().connections).toEqual([]);
  });

  it('half a close: what was asked for before it is answered', async () => {
    const peer = await (await stage()).client({});
    peer.post({ command: NBD_CMD_READ, length: 4096 });
    peer.socket.end();
    expect((await peer.reply()).data[0]!.bytes.byteLength).toBe(4096);
    expect(await peer.ended()).toBe(0);
  });

  it('a payload that is shorter than promised: nothing of it is written', async () => {
    const { client, device, server } = await stage();
    const peer = await client({});
    peer.post({ command: NBD_CMD_WRITE, length: 4096, data: pattern(4000) });
    peer.socket.end();
    expect(await peer.ended()).toBe(0);
    await expect.poll(() => server.status().connections).toEqual([]);
    expect(device.counts.writes).toBe(0);
    expect(server.status().heldBytes).toBe(0);
  });

  it('a wrong magic ends the connection and no other', async () => {
    const { client } = await stage();
    const [bad, good] = [await client({}), await client({})];
    bad.send(Buffer.alloc(28, 0x11));
    expect(await bad.ended()).toBe(0);
    expect((await good.ask({ command: NBD_CMD_READ, length: 512 })).error).toBe(0);
  });
});
