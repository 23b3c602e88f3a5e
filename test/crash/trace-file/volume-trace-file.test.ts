/** What a trace's file says of a volume: the same when it is read, in order with the events. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { DiskRequest, Operation } from '../../../src/crash/trace.js';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { TraceWriter } from '../../../src/crash/trace-file/trace-writer.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const FLUSH = { kind: 'flush', offset: 0, length: 0, bytes: null, fua: false } as const;

function write(number: number, offset: number, length: number): Operation {
  return {
    number,
    device: 1,
    kind: 'write',
    offset,
    length,
    bytes: new Uint8Array(length).fill(7),
    fua: true,
  };
}

async function written(body: (writer: TraceWriter) => void) {
  const path = join(await temporaryFolder(), 'a.trace');
  const writer = await TraceWriter.create(path, { command: [] });
  writer.volume('/somewhere/v');
  writer.file('/somewhere/v/list', Buffer.from('{}'));
  writer.file('/somewhere/v/small.img', Buffer.from('its content'));
  writer.device({ name: '/somewhere/v/small.img', size: 4096, blockSize: 512 });
  body(writer);
  await writer.close();
  const trace = readTrace(path);
  trace.close();
  return trace;
}

it('requests are to the byte, between the events that were before and behind them', async () => {
  const asked = [write(0, 5, 700), write(1, 4000, 9000), { ...FLUSH, number: 2, device: 0 }];
  const trace = await written((writer) => {
    for (const name of ['one', 'two']) writer.disk({ name, size: 20_000 });
    writer.event({ kind: 'mark', mark: { name: 'begun' } });
    for (const request of asked) writer.request({ is: 'asked', request });
    writer.event({ kind: 'mark', mark: { name: 'amid' } });
    for (const request of [...asked].reverse()) writer.request({ is: 'answered', request });
  });
  expect(trace.damage).toBeNull();
  expect(trace.volume!.disks).toEqual(['one', 'two'].map((name) => ({ name, size: 20_000 })));
  const wanted: DiskRequest[] = [
    ...asked.map((request) => ({ is: 'asked' as const, at: 1, request })),
    ...[...asked].reverse().map((request) => ({ is: 'answered' as const, at: 2, request })),
  ];
  const plain = (all: readonly DiskRequest[]) =>
    all.map(({ request, ...rest }) => ({
      ...rest,
      request: { ...request, bytes: request.bytes && Buffer.from(request.bytes).toString('hex') },
    }));
  expect(plain(trace.requests)).toEqual(plain(wanted));
});

it('files are what they held first; images are none, and what comes later says that one has changed', async () => {
  const { volume } = await written((writer) => {
    writer.event({ kind: 'mark', mark: { name: 'begun' } });
    writer.file('/somewhere/v/list', Buffer.from('{"another": 1}'));
    writer.file('/somewhere/v/new', Buffer.from('{}'));
  });
  expect(volume!.named).toBe('/somewhere/v');
  expect([...volume!.files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()])).toEqual([
    ['/somewhere/v/list', '{}'],
  ]);
  expect([...volume!.changed].sort()).toEqual(['/somewhere/v/list', '/somewhere/v/new']);
});

it.each([
  ['a disk that there is not', { ...write(0, 0, 512), device: 2 }, /there is no disk 2/],
  ['behind its end', write(0, 4000, 200), /not within its device/],
] as const)('a request of %s is damage', async (_, request, why) => {
  const trace = await written((writer) => {
    for (const name of ['one', 'two']) writer.disk({ name, size: 4096 });
    writer.request({ is: 'asked', request });
  });
  expect(trace.damage!.why).toMatch(why);
});

it('an answer comes once', async () => {
  const trace = await written((writer) => {
    const request = { ...FLUSH, number: 0, device: 0 };
    writer.disk({ name: 'one', size: 4096 });
    for (const is of ['asked', 'answered', 'answered'] as const) writer.request({ is, request });
  });
  expect(trace.damage!.why).toBe('request 0 cannot be answered');
});

it('a file that is replaced as a whole has its versions: not there, empty, some bytes', async () => {
  const versions = [null, new Uint8Array(), Buffer.from('{"a": 1}')];
  const { devices, damage } = await written((writer) => {
    const index = writer.device({ name: '/somewhere/v/list', size: 512, blockSize: 512 });
    for (const version of versions) writer.version(index, version);
  });
  expect(damage).toBeNull();
  expect(
    devices.map((device) => device.versions?.map((version) => version && Buffer.from(version).toString())),
  ).toEqual([undefined, [null, '', '{"a": 1}']]);
});

it.each([
  ['no device', 7, /there is no device 7/],
  ['an image', 0, /device 0 is no file/],
] as const)('versions of %s are damage', async (_, index, why) => {
  const trace = await written((writer) => writer.version(index, null));
  expect(trace.damage!.why).toMatch(why);
});
