/** When a lost server does not come back, or comes back as another: the device fails, and tells what is in doubt. */
import { describe, expect, it } from 'vitest';
import { DeviceError } from '../../../src/device/contract.js';
import type { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { COMMANDS, ERRORS, TRANSMISSION_FLAGS } from '../../../src/nbd/protocol/constants.js';
import { errorOf, expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { PATIENT, TOY_SIZE, ToyPlace } from './toy-place.js';
import { ALL_FLAGS, type ToyOptions } from './toy-server.js';

const IMPATIENT = { reconnect: { tries: 3, withinMs: 50_000, pauseMs: 1 } };

async function expectFailed(device: NbdDevice, place: ToyPlace): Promise<DeviceError> {
  const error = await errorOf(device.read(0, new Uint8Array(512)));
  expect(error.details.image).toBe(place.uri);
  expect(error.message).toContain(place.uri);
  await errorOf(device.write(0, new Uint8Array(512)));
  await errorOf(device.writeZeroes(0, 512));
  await errorOf(device.trim(0, 512));
  await errorOf(device.flush());
  await errorOf(device.extents(0, 512));
  return error;
}

describe('a server that does not come back', () => {
  it('fails every call, and what is in doubt is told', async () => {
    const place = await ToyPlace.serving({
      fateOf: ({ command, offset }) =>
        command === COMMANDS.NBD_CMD_WRITE && offset === 65536 ? 'die before' : 'answer',
    });
    const device = await place.open(IMPATIENT);
    await device.write(0, pattern(512, 1));
    await device.flush();
    await device.write(4096, pattern(4096, 2));
    await device.writeZeroes(8192, 4096);
    expect(device.unflushedRanges()).toEqual([{ start: 4096, end: 12288 }]);
    const dead = new Promise((resolve) => place.server.server.once('close', resolve));
    const calls = [device.write(65536, new Uint8Array(512))];
    await dead;
    calls.push(device.read(0, new Uint8Array(512)), device.flush());
    calls.push(device.write(131072, new Uint8Array(512), { fua: true }));
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'IO_ERROR' } });
      expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(DeviceError);
    }
    const error = await expectFailed(device, place);
    expect(error.message).toContain('not found again in 3 tries');
    expect(device.unflushedRanges()).toEqual([
      { start: 4096, end: 12288 },
      { start: 65536, end: 66048 },
      { start: 131072, end: 131584 },
    ]);
  });

  it('is not looked for when there are to be no tries', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open({ reconnect: { tries: 0 } });
    await device.write(0, pattern(512, 1));
    await place.crash();
    await place.serve();
    await expectFailed(device, place);
    expect(place.server.connections).toBe(0);
    expect(device.unflushedRanges()).toEqual([{ start: 0, end: 512 }]);
  });

  it('is not looked for longer than the time that there is', async () => {
    const place = await ToyPlace.serving();
    const device = await place.open({ reconnect: { tries: 100_000, withinMs: 20, pauseMs: 1 } });
    await device.write(0, pattern(512, 1));
    await place.crash();
    await expectFailed(device, place);
  });

  it('has those who wait for room fail too', async () => {
    const place = await ToyPlace.serving({
      fateOf: ({ command }) => (command === COMMANDS.NBD_CMD_FLUSH ? 'die before' : 'answer'),
    });
    const device = await place.open({ unflushedLimitBytes: 64 * 1024, ...IMPATIENT });
    const writes = Array.from({ length: 40 }, (_, i) => device.write(i * 8192, pattern(8192, i)));
    const outcomes = await Promise.allSettled(writes);
    expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true);
    await expectFailed(device, place);
  });
});

it('one request that every server dies of ends in a failure, whatever else is answered', async () => {
  const options: ToyOptions = {
    fateOf: ({ offset }, server) => {
      if (offset === 4096) server.dropConnections();
      return 'answer';
    },
  };
  const place = await ToyPlace.serving(options);
  const device = await place.open({ reconnect: { tries: 5, withinMs: 50_000, pauseMs: 1 } });
  await device.write(0, pattern(512, 1));
  const error = await errorOf(device.read(4096, new Uint8Array(512)));
  expect(error.message).toMatch(/lost|a request was sent/);
  expect(place.server.connections).toBeLessThanOrEqual(8);
});

describe('a server that comes back as another', () => {
  const without = (flag: number) => ({ flags: ALL_FLAGS & ~flag });
  it.each<[string, ToyOptions, string]>([
    ['smaller', { size: TOY_SIZE - 4096 }, 'bytes now'],
    ['larger', { size: TOY_SIZE + 4096 }, 'bytes now'],
    ['read only', { flags: ALL_FLAGS | TRANSMISSION_FLAGS.NBD_FLAG_READ_ONLY }, 'read only now'],
    ['without flush', without(TRANSMISSION_FLAGS.NBD_FLAG_SEND_FLUSH), 'no longer flush'],
    ['without fua', without(TRANSMISSION_FLAGS.NBD_FLAG_SEND_FUA), 'no longer force unit access'],
    ['without zeroes', without(TRANSMISSION_FLAGS.NBD_FLAG_SEND_WRITE_ZEROES), 'no longer write zeroes'],
    ['without holes', { isStructured: false }, 'no longer tell holes'],
    [
      'larger blocks',
      { sizes: { minimum: 4096, preferred: 4096, maximumPayload: 2 ** 25 } },
      'blocks have 4096',
    ],
    ['less at once', { sizes: { minimum: 1, preferred: 4096, maximumPayload: 2 ** 20 } }, 'bytes at once'],
    ['another export', { exportName: 'other' }, 'no export "disk"'],
  ])('%s: nothing is sent to it', async (_what, options, text) => {
    const place = await ToyPlace.serving();
    const device = await place.open();
    await device.write(0, pattern(512, 1));
    await place.crash();
    await place.serve(options);
    const error = await expectFailed(device, place);
    expect(error.message).toContain(text);
    expect(place.server.requests).toEqual([]);
    expect(device.unflushedRanges()).toEqual([{ start: 0, end: 512 }]);
  });
});

it('what was acknowledged and is refused when it is sent again is lost for good', async () => {
  const place = await ToyPlace.serving();
  const device = await place.open();
  await device.write(0, pattern(512, 1));
  await device.write(512, pattern(512, 2));
  await place.crash();
  const fateOf: ToyOptions['fateOf'] = ({ offset }) =>
    offset === 512 ? { error: ERRORS.NBD_EIO } : 'answer';
  await place.serve({ fateOf });
  const error = await expectFailed(device, place);
  expect(error.message).toContain('EIO');
  expect(device.unflushedRanges()).toEqual([{ start: 0, end: 1024 }]);
});

describe('a flush that is answered with an error', () => {
  const fateOf: ToyOptions['fateOf'] = ({ command }) =>
    command === COMMANDS.NBD_CMD_FLUSH ? { error: ERRORS.NBD_EIO } : 'answer';

  it('is final: no write, no flush; reads go on, and the ranges stay told', async () => {
    const place = await ToyPlace.serving({ fateOf });
    const device = await place.open();
    await device.write(0, pattern(512, 1));
    expect((await errorOf(device.flush())).fault.operation).toBe('flush');
    await errorOf(device.flush());
    await errorOf(device.write(0, pattern(512, 2)));
    expectSame(await readAt(device, 0, 512), pattern(512, 1));
    expect(device.unflushedRanges()).toEqual([{ start: 0, end: 512 }]);
    expect(place.server.count(COMMANDS.NBD_CMD_FLUSH)).toBe(1);
  });

  it('is as final when the device flushed by itself', async () => {
    const place = await ToyPlace.serving({ fateOf });
    const device = await place.open({ unflushedLimitBytes: 64 * 1024 });
    const writes = Array.from({ length: 40 }, (_, i) => device.write(i * 8192, pattern(8192, i)));
    const outcomes = await Promise.allSettled(writes);
    expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true);
    await errorOf(device.write(0, pattern(512, 2)));
    expect((await errorOf(device.flush())).message).toContain('final');
  });

  it('is as final when a write with fua needed it', async () => {
    const flags = ALL_FLAGS & ~TRANSMISSION_FLAGS.NBD_FLAG_SEND_FUA;
    const place = await ToyPlace.serving({ fateOf, flags });
    const device = await place.open();
    await errorOf(device.write(0, pattern(512, 1), { fua: true }));
    await errorOf(device.write(0, pattern(512, 2)));
  });
});

it.each([
  [ERRORS.NBD_ENOSPC, 'NO_SPACE', 'ENOSPC'],
  [ERRORS.NBD_EPERM, 'PERMISSION_DENIED', 'EPERM'],
  [ERRORS.NBD_EIO, 'IO_ERROR', 'EIO'],
  [4711, 'IO_ERROR', 'error 4711'],
])('a write that is answered with error %i is %s, and not final', async (number, code, text) => {
  const fateOf: ToyOptions['fateOf'] = ({ offset }) => (offset === 512 ? { error: number } : 'answer');
  const place = await ToyPlace.serving({ fateOf });
  const device = await place.open({ ...PATIENT });
  const error = await errorOf(device.write(512, pattern(512, 1)));
  expect(error.code).toBe(code);
  expect(error.message).toContain(text);
  expect(error.fault).toMatchObject({ device: place.uri, operation: 'write', offset: 512, length: 512 });
  await device.write(0, pattern(512, 2));
  await device.flush();
  expectSame(await readAt(device, 0, 512), pattern(512, 2));
});
