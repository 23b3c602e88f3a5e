/** A device that is closed while its server is silent: it does not wait for ever, and tells what is in doubt. */
import { describe, expect, it } from 'vitest';
import { DeviceError } from '../../../src/device/contract.js';
import type { NbdDevice, NbdDeviceOptions } from '../../../src/nbd/client/nbd-device.js';
import { COMMANDS } from '../../../src/nbd/protocol/constants.js';
import { errorOf, pattern } from '../../conformance/block-device.js';
import { ToyPlace } from './toy-place.js';
import type { ToyOptions } from './toy-server.js';

const SOON_MS = 50;
const SILENT: ToyOptions = { fateOf: () => 'silence' };
const NO_TRIES = { reconnect: { tries: 0 } };

async function silent(options: Partial<NbdDeviceOptions> = {}): Promise<NbdDevice> {
  return (await ToyPlace.serving(SILENT)).open(options);
}

describe('a server that never answers', () => {
  const calls: [string, (device: NbdDevice) => Promise<unknown>][] = [
    ['write', (device) => device.write(4096, pattern(512, 1))],
    ['write of many pieces', (device) => device.write(0, pattern(1024 * 1024, 1))],
    ['write with fua', (device) => device.write(4096, pattern(512, 1), { fua: true })],
    ['writeZeroes', (device) => device.writeZeroes(4096, 512)],
    ['trim', (device) => device.trim(4096, 512)],
    ['read', (device) => device.read(4096, new Uint8Array(512))],
    ['flush', (device) => device.flush()],
    ['extents', (device) => device.extents(0, 4096)],
  ];
  for (const [reconnecting, options] of [
    ['which is looked for again when it is lost', {}],
    ['which is not', NO_TRIES],
  ] as const) {
    it.each(calls)(
      `%s: it fails when the device is closed soon, of a server ${reconnecting}`,
      async (_, call) => {
        const device = await silent({ ...options, unflushedLimitBytes: 256 * 1024 });
        const failed = errorOf(call(device));
        await device.closeSoon(SOON_MS);
        expect(await failed).toBeInstanceOf(DeviceError);
        expect((await failed).message).toContain('has not answered within 50 ms');
      },
    );
  }

  it('tells what is in doubt, of those that wait for room nothing', async () => {
    const device = await silent({ ...NO_TRIES, unflushedLimitBytes: 64 * 1024 });
    const writes = Array.from({ length: 40 }, (_, i) => device.write(i * 8192, pattern(8192, i)));
    const ended = Promise.allSettled(writes);
    await device.closeSoon(SOON_MS);
    expect((await ended).map(({ status }) => status)).toEqual(writes.map(() => 'rejected'));
    const [range, ...more] = device.unflushedRanges();
    expect(more).toEqual([]);
    expect(range).toMatchObject({ start: 0 });
    expect(range!.end).toBeLessThanOrEqual(64 * 1024);
  });

  it('is cut by a second closing where the first one waits', async () => {
    const device = await silent();
    const failed = errorOf(device.write(0, pattern(512, 1)));
    const closed = device.close();
    await device.closeSoon(SOON_MS);
    await closed;
    expect(await failed).toBeInstanceOf(DeviceError);
  });
});

it('a server that is away: what waits for it to come back fails', async () => {
  const place = await ToyPlace.serving();
  const device = await place.open();
  await device.write(0, pattern(512, 1));
  await place.server.die();
  const failed = errorOf(device.read(0, new Uint8Array(512)));
  await device.closeSoon(SOON_MS);
  expect(await failed).toBeInstanceOf(DeviceError);
  expect(device.unflushedRanges()).toEqual([{ start: 0, end: 512 }]);
});

it('what a server answers in time ends well', async () => {
  const place = await ToyPlace.serving({
    fateOf: async () => {
      await new Promise((resolve) => setTimeout(resolve, SOON_MS));
      return 'answer' as const;
    },
  });
  const device = await place.open();
  const write = device.write(0, pattern(512, 1));
  await device.closeSoon();
  await write;
  expect(place.server.count(COMMANDS.NBD_CMD_WRITE)).toBe(1);
  expect(place.server.connections).toBe(1);
});
