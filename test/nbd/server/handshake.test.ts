/** The handshake, option by option, by a client that says what a test wants; right and wrong. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import {
  ERROR_REPLIES,
  TRANSMISSION_FLAGS as FLAGS,
  INFOS,
  OPTIONS,
  REPLIES,
} from '../../../src/nbd/protocol/constants.js';
import { decodeExportAnswer, encodeOption } from '../../../src/nbd/protocol/handshake.js';
import {
  decodeInfo,
  decodeListedExport,
  decodeMetaContext,
  encodeInfoRequest,
  encodeMetaContextRequest,
} from '../../../src/nbd/protocol/option-data.js';
import type { Export } from '../../../src/nbd/server/export.js';
import { RawClient } from '../../support/nbd/raw-client.js';
import { served } from '../../support/nbd/served.js';

const MIB = 1024 * 1024;
const { NBD_REP_ACK } = REPLIES;
const { NBD_REP_ERR_INVALID, NBD_REP_ERR_UNSUP, NBD_REP_ERR_UNKNOWN, NBD_REP_ERR_TOO_BIG } = ERROR_REPLIES;

const bitmap = { name: 'qemu:dirty-bitmap:b', status: async () => [{ length: 512, flags: 1 }] };

function exports(): Export[] {
  return [
    { name: 'first', description: 'the first one', device: new MemoryDevice(MIB), contexts: () => [bitmap] },
    { name: 'zweite ü', device: new MemoryDevice(2 * MIB, { blockSize: 4096 }), readOnly: true },
  ];
}

async function greeted(flags?: number): Promise<RawClient> {
  return (await served(exports())).greeted(flags);
}

function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
}

function names(name: string, queries: readonly string[]): Buffer {
  return encodeMetaContextRequest({ name, queries });
}

/** Still listens and answers. */
async function isAlive(client: RawClient): Promise<boolean> {
  return (await client.verdict(OPTIONS.NBD_OPT_LIST)) === NBD_REP_ACK;
}

describe('greeting', () => {
  it('offers the fixed newstyle and no zeroes', async () => {
    const { path } = await served(exports());
    const client = await RawClient.connect(path);
    expect(await client.greet()).toBe(3);
    client.close();
  });

  it('closes on flags that were not offered', async () => {
    expect(await (await greeted(4 | 1)).ended()).toBe(0);
  });

  it('closes on an option without its magic', async () => {
    const client = await greeted();
    client.send(Buffer.alloc(16, 0x55));
    expect(await client.ended()).toBe(0);
  });

  it('talks with a client that does not name the fixed newstyle', async () => {
    expect(await isAlive(await greeted(0))).toBe(true);
  });
});

describe('LIST, ABORT and what is unknown', () => {
  it('lists all exports with their descriptions', async () => {
    const replies = await (await greeted()).option(OPTIONS.NBD_OPT_LIST);
    expect(replies.map(({ reply }) => reply)).toEqual([
      REPLIES.NBD_REP_SERVER,
      REPLIES.NBD_REP_SERVER,
      NBD_REP_ACK,
    ]);
    expect(replies.slice(0, 2).map(({ data }) => decodeListedExport(data))).toEqual([
      { name: 'first', description: 'the first one' },
      { name: 'zweite ü', description: '' },
    ]);
  });

  it('answers ABORT and closes, whatever comes with it', async () => {
    const client = await greeted();
    expect(await client.verdict(OPTIONS.NBD_OPT_ABORT, Buffer.from('bye'))).toBe(NBD_REP_ACK);
    expect(await client.ended()).toBe(0);
  });

  it.each([OPTIONS.NBD_OPT_PEEK_EXPORT, OPTIONS.NBD_OPT_EXTENDED_HEADERS, 0, 12, 0x7fffffff, 0xffffffff])(
    'answers option %i with UNSUP and goes on',
    async (option) => {
      const client = await greeted();
      expect(await client.verdict(option, Buffer.alloc(1000, 1))).toBe(NBD_REP_ERR_UNSUP);
      expect(await isAlive(client)).toBe(true);
    },
  );

  it.each([
    ['LIST', OPTIONS.NBD_OPT_LIST],
    ['STRUCTURED_REPLY', OPTIONS.NBD_OPT_STRUCTURED_REPLY],
  ])('refuses data with %s', async (_name, option) => {
    const client = await greeted();
    expect(await client.verdict(option, Buffer.from('data'))).toBe(NBD_REP_ERR_INVALID);
    expect(await isAlive(client)).toBe(true);
  });

  it('answers STARTTLS with POLICY where there is no TLS', async () => {
    const client = await greeted();
    expect(await client.verdict(OPTIONS.NBD_OPT_STARTTLS)).toBe(ERROR_REPLIES.NBD_REP_ERR_POLICY);
    expect(await isAlive(client)).toBe(true);
  });
});

describe('INFO and GO', () => {
  const all = [INFOS.NBD_INFO_NAME, INFOS.NBD_INFO_DESCRIPTION, INFOS.NBD_INFO_BLOCK_SIZE, 77];
  const writable =
    FLAGS.NBD_FLAG_HAS_FLAGS |
    FLAGS.NBD_FLAG_SEND_FLUSH |
    FLAGS.NBD_FLAG_SEND_FUA |
    FLAGS.NBD_FLAG_SEND_TRIM |
    FLAGS.NBD_FLAG_SEND_WRITE_ZEROES |
    FLAGS.NBD_FLAG_CAN_MULTI_CONN |
    FLAGS.NBD_FLAG_SEND_CACHE |
    FLAGS.NBD_FLAG_SEND_FAST_ZERO;

  it.each([OPTIONS.NBD_OPT_INFO, OPTIONS.NBD_OPT_GO])(
    'option %i tells what was asked for',
    async (option) => {
      const replies = await (await greeted()).option(option, encodeInfoRequest({ name: '', infos: all }));
      expect(replies.slice(0, -1).map(({ data }) => decodeInfo(data))).toEqual([
        { kind: 'export', size: BigInt(MIB), transmissionFlags: writable },
        { kind: 'name', text: 'first' },
        { kind: 'description', text: 'the first one' },
        { kind: 'block-size', minimum: 512, preferred: 4096, maximumPayload: 64 * MIB },
      ]);
      expect(replies.at(-1)?.reply).toBe(NBD_REP_ACK);
    },
  );

  it('tells nothing that was not asked for, and of a read-only export that it is', async () => {
    const [info, ack] = await (await greeted()).option(
      OPTIONS.NBD_OPT_INFO,
      encodeInfoRequest({ name: 'zweite ü', infos: [] }),
    );
    const flags = FLAGS.NBD_FLAG_READ_ONLY | FLAGS.NBD_FLAG_HAS_FLAGS | FLAGS.NBD_FLAG_SEND_FLUSH;
    const rest = FLAGS.NBD_FLAG_SEND_FUA | FLAGS.NBD_FLAG_CAN_MULTI_CONN | FLAGS.NBD_FLAG_SEND_CACHE;
    expect(decodeInfo(info!.data)).toEqual({
      kind: 'export',
      size: BigInt(2 * MIB),
      transmissionFlags: flags | rest,
    });
    expect(ack?.reply).toBe(NBD_REP_ACK);
  });

  it('offers DF to those who agreed on structured replies', async () => {
    const client = await greeted();
    await client.accepted(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
    const [info] = await client.option(OPTIONS.NBD_OPT_GO, encodeInfoRequest({ name: '', infos: [] }));
    expect(decodeInfo(info!.data)).toMatchObject({ transmissionFlags: writable | FLAGS.NBD_FLAG_SEND_DF });
  });

  it.each([OPTIONS.NBD_OPT_INFO, OPTIONS.NBD_OPT_GO])('option %i: an unknown export', async (option) => {
    const client = await greeted();
    expect(await client.verdict(option, encodeInfoRequest({ name: 'nobody', infos: all }))).toBe(
      NBD_REP_ERR_UNKNOWN,
    );
    expect(await isAlive(client)).toBe(true);
  });

  it.each<[string, Buffer]>([
    ['no data', Buffer.alloc(0)],
    ['a name of 0xffffffff bytes', Buffer.concat([u32(0xffffffff), Buffer.from('first'), Buffer.alloc(2)])],
    ['a name that is longer than the data', Buffer.concat([u32(6), Buffer.from('first'), Buffer.alloc(2)])],
    ['no count of infos', Buffer.concat([u32(5), Buffer.from('first')])],
    ['fewer infos than counted', Buffer.concat([u32(0), Buffer.from([0, 2, 0, 1])])],
    ['more infos than counted', Buffer.concat([u32(0), Buffer.from([0, 0, 0, 1])])],
    ['a NUL in the name', encodeInfoRequest({ name: 'fir\0st', infos: [] })],
    ['a name that is no UTF-8', Buffer.concat([u32(2), Buffer.from([0xff, 0xfe, 0, 0])])],
  ])('refuses %s and goes on', async (_what, data) => {
    const client = await greeted();
    for (const option of [OPTIONS.NBD_OPT_INFO, OPTIONS.NBD_OPT_GO])
      expect(await client.verdict(option, data)).toBe(NBD_REP_ERR_INVALID);
    expect(await isAlive(client)).toBe(true);
  });
});

describe('EXPORT_NAME', () => {
  it.each([
    [3, 10],
    [1, 134],
    [0, 134],
  ])('with client flags %i answers %i bytes, and transmits', async (flags, bytes) => {
    const client = await greeted(flags);
    client.send(encodeOption(OPTIONS.NBD_OPT_EXPORT_NAME, Buffer.from('zweite ü')));
    const answer = await client.reader.take(bytes);
    expect(decodeExportAnswer(answer).size).toBe(BigInt(2 * MIB));
    expect(answer.subarray(10).every((byte) => byte === 0)).toBe(true);
    expect(await client.read(4096, 4096)).toEqual(Buffer.alloc(4096));
  });

  it.each<[string, Buffer]>([
    ['an unknown export', encodeOption(OPTIONS.NBD_OPT_EXPORT_NAME, Buffer.from('nobody'))],
    [
      'a name of 0xffffffff bytes',
      Buffer.concat([encodeOption(OPTIONS.NBD_OPT_EXPORT_NAME).subarray(0, 12), u32(0xffffffff)]),
    ],
  ])('closes on %s', async (_what, bytes) => {
    const client = await greeted();
    client.send(bytes);
    expect(await client.ended()).toBe(0);
  });
});

describe('lengths', () => {
  it.each([OPTIONS.NBD_OPT_LIST, OPTIONS.NBD_OPT_GO, OPTIONS.NBD_OPT_SET_META_CONTEXT, 99])(
    'option %i of 0xffffffff bytes is answered, and read past only so far',
    async (option) => {
      const client = await greeted();
      const memory = process.memoryUsage().rss;
      client.send(encodeOption(option).subarray(0, 12), u32(0xffffffff));
      expect((await client.optionReplies()).at(-1)?.reply).toBe(NBD_REP_ERR_TOO_BIG);
      const junk = Buffer.alloc(MIB);
      for (let i = 0; i < 20 && !client.socket.destroyed; i++) {
        await new Promise<void>((resolve) => client.socket.write(junk, () => resolve()));
      }
      expect(await client.ended()).toBe(0);
      expect(process.memoryUsage().rss - memory).toBeLessThan(64 * MIB);
    },
  );

  it('an option of 1 MiB is refused, read past, and the next one is heard', async () => {
    const client = await greeted();
    expect(await client.verdict(OPTIONS.NBD_OPT_LIST, Buffer.alloc(MIB, 1))).toBe(NBD_REP_ERR_TOO_BIG);
    expect(await isAlive(client)).toBe(true);
  });
});

describe('metadata contexts', () => {
  const contexts = async (client: RawClient, option: number, name: string, queries: readonly string[]) => {
    const replies = await client.accepted(option, names(name, queries));
    return replies.slice(0, -1).map(({ data }) => decodeMetaContext(data)!);
  };

  it.each<[readonly string[], readonly string[]]>([
    [[], ['base:allocation', 'qemu:dirty-bitmap:b']],
    [['base:'], ['base:allocation']],
    [['base:allocation'], ['base:allocation']],
    [['qemu:'], ['qemu:dirty-bitmap:b']],
    [['qemu:dirty-bitmap:'], ['qemu:dirty-bitmap:b']],
    [['qemu:dirty-bitmap:c', 'x-nobody:'], []],
    [
      ['qemu:dirty-bitmap:b', 'base:'],
      ['base:allocation', 'qemu:dirty-bitmap:b'],
    ],
  ])('LIST of %j gives %j', async (queries, found) => {
    const client = await greeted();
    await client.accepted(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
    const listed = await contexts(client, OPTIONS.NBD_OPT_LIST_META_CONTEXT, 'first', queries);
    expect(listed.map(({ name }) => name)).toEqual(found);
  });

  it.each<[readonly string[], readonly string[]]>([
    [[], []],
    [['base:'], []],
    [['base:allocation', 'base:unknown', 'x-nobody:a'], ['base:allocation']],
    [
      ['qemu:dirty-bitmap:b', 'base:allocation', 'base:allocation'],
      ['base:allocation', 'qemu:dirty-bitmap:b'],
    ],
  ])('SET of %j selects %j, each with an id of its own', async (queries, found) => {
    const client = await greeted();
    await client.accepted(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
    const set = await contexts(client, OPTIONS.NBD_OPT_SET_META_CONTEXT, 'first', queries);
    expect(set.map(({ name }) => name)).toEqual(found);
    expect(new Set(set.map(({ id }) => id)).size).toBe(found.length);
  });

  it('SET wants structured replies first', async () => {
    const client = await greeted();
    const data = names('first', ['base:allocation']);
    expect(await client.verdict(OPTIONS.NBD_OPT_SET_META_CONTEXT, data)).toBe(NBD_REP_ERR_INVALID);
  });

  it.each([OPTIONS.NBD_OPT_LIST_META_CONTEXT, OPTIONS.NBD_OPT_SET_META_CONTEXT])(
    'option %i: an unknown export, and data that contradicts itself',
    async (option) => {
      const client = await greeted();
      await client.accepted(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
      expect(await client.verdict(option, names('nobody', []))).toBe(NBD_REP_ERR_UNKNOWN);
      const bad = [
        Buffer.alloc(0),
        u32(0xffffffff, 0),
        u32(0, 0xffffffff),
        u32(0, 1, 0xffffffff),
        u32(0, 0, 0),
        Buffer.concat([u32(0, 1, 3), Buffer.from('ab')]),
      ];
      for (const data of bad) expect(await client.verdict(option, data)).toBe(NBD_REP_ERR_INVALID);
      expect(await isAlive(client)).toBe(true);
    },
  );
});
