/** Every message: what is encoded is decoded again, has the bytes that proto.md says, and nonsense is refused. */
import { expect, it } from 'vitest';
import {
  decodeClientFlags,
  decodeExportAnswer,
  decodeGreeting,
  decodeOptionHeader,
  decodeOptionReplyHeader,
  encodeClientFlags,
  encodeExportAnswer,
  encodeGreeting,
  encodeOption,
  encodeOptionReply,
} from '../../../src/nbd/protocol/handshake.js';
import {
  decodeInfo,
  decodeInfoRequest,
  decodeListedExport,
  decodeMetaContext,
  decodeMetaContextRequest,
  encodeInfo,
  encodeInfoRequest,
  encodeListedExport,
  encodeMetaContext,
  encodeMetaContextRequest,
} from '../../../src/nbd/protocol/option-data.js';
import { ProtocolError } from '../../../src/nbd/protocol/protocol-error.js';
import { decodeString, encodeString } from '../../../src/nbd/protocol/strings.js';
import {
  decodeBlockStatus,
  decodeChunkError,
  decodeChunkHeader,
  decodeHole,
  decodeOffset,
  decodeReplyMagic,
  decodeRequest,
  decodeSimpleReply,
  encodeBlockStatus,
  encodeChunkError,
  encodeChunkHeader,
  encodeHole,
  encodeOffset,
  encodeRequest,
  encodeSimpleReply,
} from '../../../src/nbd/protocol/transmission.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const cookie = { cookieHigh: 0x01020304, cookieLow: 0xfffefdfc };

function written(bytes: number, encode: (into: Buffer) => void): Buffer {
  const into = Buffer.alloc(bytes);
  encode(into);
  return into;
}

const request = { ...cookie, flags: 0x0105, command: 6, offset: 0x123456789ab, length: 0xfffffe00 };
const requestBytes = written(28, (into) => encodeRequest(into, 0, request));

it.each<[string, Buffer, string]>([
  ['greeting', encodeGreeting(3), '4e42444d4147494349484156454f50540003'],
  ['client flags', encodeClientFlags(3), '00000003'],
  ['option', encodeOption(7, Buffer.from('ab')), '49484156454f505400000007000000026162'],
  ['option reply', encodeOptionReply(7, 2 ** 31 + 1), '0003e889045565a9000000078000000100000000'],
  [
    'export answer',
    encodeExportAnswer({ size: 2n ** 63n, transmissionFlags: 0x1ff }, false),
    '800000000000000001ff',
  ],
  ['info request', encodeInfoRequest({ name: 'a', infos: [3, 1] }), '0000000161000200030001'],
  ['export', encodeListedExport({ name: 'a', description: 'bc' }), '00000001616263'],
  ['context', encodeMetaContext({ id: 5, name: 'x:y' }), '00000005783a79'],
  ['contexts', encodeMetaContextRequest({ name: 'a', queries: ['x:'] }), '00000001610000000100000002783a'],
  [
    'block size',
    encodeInfo({ kind: 'block-size', minimum: 512, preferred: 4096, maximumPayload: 0xffffffff }),
    '00030000020000001000ffffffff',
  ],
  [
    'request',
    requestBytes,
    '25609513' + '0105' + '0006' + '01020304fffefdfc' + '00000123456789ab' + 'fffffe00',
  ],
  [
    'simple reply',
    written(16, (into) => encodeSimpleReply(into, 0, cookie, 5)),
    '674466980000000501020304fffefdfc',
  ],
  [
    'chunk',
    written(20, (into) => encodeChunkHeader(into, 0, cookie, 1, 0x8002, 14)),
    '668e33ef' + '0001' + '8002' + '01020304fffefdfc' + '0000000e',
  ],
  [
    'hole',
    written(12, (into) => encodeHole(into, 0, { offset: 2 ** 40, length: 512 })),
    '000001000000000000000200',
  ],
  [
    'status',
    encodeBlockStatus({ contextId: 1, descriptors: [{ length: 512, flags: 3 }] }),
    '000000010000020000000003',
  ],
  ['error', encodeChunkError({ error: 22, message: 'ab' }).payload, '0000001600026162'],
  [
    'error at',
    encodeChunkError({ error: 5, message: '', offset: 512 }).payload,
    '0000000500000000000000000200',
  ],
])('%s has the bytes of proto.md', (_name, bytes, hex) => {
  expect(bytes.toString('hex')).toBe(hex);
});

it('what is encoded is decoded', () => {
  expect(decodeGreeting(encodeGreeting(3))).toBe(3);
  expect(decodeClientFlags(encodeClientFlags(2))).toBe(2);
  expect(decodeOptionHeader(encodeOption(9, Buffer.alloc(7)))).toEqual({ option: 9, length: 7 });
  expect(decodeOptionReplyHeader(encodeOptionReply(9, 3, Buffer.alloc(7)))).toEqual({
    option: 9,
    reply: 3,
    length: 7,
  });
  const answer = { size: 2n ** 40n, transmissionFlags: 5 };
  expect(decodeExportAnswer(encodeExportAnswer(answer, true))).toEqual(answer);
  expect(decodeRequest(requestBytes, 0)).toEqual(request);
  const simple = written(16, (into) => encodeSimpleReply(into, 0, cookie, 28));
  expect([decodeReplyMagic(simple, 0), decodeSimpleReply(simple, 0)]).toEqual([
    'simple',
    { ...cookie, error: 28 },
  ]);
  const chunk = written(20, (into) => encodeChunkHeader(into, 0, cookie, 1, 5, 12));
  const header = { ...cookie, flags: 1, type: 5, length: 12 };
  expect([decodeReplyMagic(chunk, 0), decodeChunkHeader(chunk, 0)]).toEqual(['structured', header]);
  const hole = { offset: 2 ** 45, length: 0xffffffff };
  expect(decodeHole(written(12, (into) => encodeHole(into, 0, hole)))).toEqual(hole);
  const status = { contextId: 9, descriptors: [1, 0xffffffff].map((length) => ({ length, flags: 2 })) };
  expect(decodeBlockStatus(encodeBlockStatus(status))).toEqual(status);
  for (const error of [
    { error: 5, message: 'ä' },
    { error: 5, message: 'x', offset: 2 ** 50 },
  ]) {
    const { type, payload } = encodeChunkError(error);
    expect(decodeChunkError(type, payload)).toEqual(error);
  }
});

it('data of options, likewise', () => {
  const infos = { name: 'ä', infos: [0, 3] };
  expect(decodeInfoRequest(encodeInfoRequest(infos))).toEqual(infos);
  const contexts = { name: '', queries: ['base:', 'a:b'] };
  expect(decodeMetaContextRequest(encodeMetaContextRequest(contexts))).toEqual(contexts);
  const listed = { name: 'a', description: '' };
  expect(decodeListedExport(encodeListedExport(listed))).toEqual(listed);
  expect(decodeMetaContext(encodeMetaContext({ id: 1, name: 'a:' }))).toEqual({ id: 1, name: 'a:' });
  const told = [
    { kind: 'export' as const, size: 5n, transmissionFlags: 1 },
    { kind: 'name' as const, text: 'n' },
    { kind: 'description' as const, text: '' },
    { kind: 'block-size' as const, minimum: 1, preferred: 512, maximumPayload: 3 },
  ];
  for (const info of told) expect(decodeInfo(encodeInfo(info))).toEqual(info);
  expect(decodeInfo(Buffer.from([0, 9, 1]))).toEqual({ kind: 'unknown', type: 9 });
});

it.each<[string, () => unknown]>([
  ['a greeting of somebody else', () => decodeGreeting(Buffer.alloc(18))],
  [
    'the old style',
    () => decodeGreeting(Buffer.concat([encodeGreeting(3).subarray(0, 8), Buffer.alloc(10)])),
  ],
  ['a newstyle that is not fixed', () => decodeGreeting(encodeGreeting(2))],
  ['an option without its magic', () => decodeOptionHeader(Buffer.alloc(16))],
  ['a reply to an option without its magic', () => decodeOptionReplyHeader(Buffer.alloc(20))],
  ['a request without its magic', () => decodeRequest(Buffer.alloc(28), 0)],
  ['a reply without its magic', () => decodeReplyMagic(Buffer.alloc(16), 0)],
  ['a hole that is too short', () => decodeHole(Buffer.alloc(11))],
  ['a status without an extent', () => decodeBlockStatus(Buffer.alloc(4))],
  ['a status with half an extent', () => decodeBlockStatus(Buffer.alloc(16, 1))],
  ['a status with an extent of nothing', () => decodeBlockStatus(Buffer.alloc(12))],
  ['an error that is cut short', () => decodeChunkError(0x8001, Buffer.alloc(5))],
  ['an error longer than its chunk', () => decodeChunkError(0x8001, Buffer.from([0, 0, 0, 5, 0, 9, 65]))],
  ['an error without its offset', () => decodeChunkError(0x8002, Buffer.from([0, 0, 0, 5, 0, 0]))],
])('%s is a breach of the protocol', (_what, decode) => {
  expect(decode).toThrow(ProtocolError);
});

it('strings end between characters, at 4096 bytes', () => {
  expect(encodeString('ä'.repeat(3000)).toString()).toBe('ä'.repeat(2048));
  expect(encodeString(`x${'ä'.repeat(3000)}`).byteLength).toBe(4095);
  expect(decodeString(Buffer.alloc(4097, 65))).toBeNull();
  expect(decodeString(Buffer.from([65, 0]))).toBeNull();
  expect(decodeString(Buffer.from([0xc3]))).toBeNull();
  expect(decodeString(Buffer.alloc(0))).toBe('');
});

it('offsets of 64 bits are exact below 2^53, and large beyond', () => {
  for (const offset of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1])
    expect(
      decodeOffset(
        written(8, (into) => encodeOffset(into, 0, offset)),
        0,
      ),
    ).toBe(offset);
  expect(decodeOffset(Buffer.alloc(8, 0xff), 0)).toBeGreaterThan(2 ** 63);
});

it('data of options that was changed anywhere is read or refused, and nothing else', () =>
  withSeed(async (random) => {
    const samples = [
      encodeInfoRequest({ name: 'export', infos: [0, 1, 2, 3] }),
      encodeMetaContextRequest({ name: 'export', queries: ['base:allocation', 'qemu:'] }),
      encodeListedExport({ name: 'export', description: 'text' }),
      encodeInfo({ kind: 'export', size: 1n, transmissionFlags: 1 }),
    ];
    for (let i = 0; i < 5000; i++) {
      const bytes = Buffer.from(random.pick(samples)).subarray(0, random.between(0, 40));
      for (let n = random.below(4); n > 0 && bytes.byteLength > 0; n--)
        bytes[random.below(bytes.byteLength)] = random.pick([0, 1, 0xff, random.below(256)]);
      for (const decode of [decodeInfoRequest, decodeMetaContextRequest, decodeListedExport, decodeInfo])
        expect(typeof decode(bytes)).toBe('object');
    }
  }));
