/** Servers that cannot do all, and what is asked of them instead; the test's server reports what it did not offer. */
import { describe, expect, it } from 'vitest';
import {
  COMMAND_FLAGS,
  COMMANDS,
  TRANSMISSION_FLAGS as FLAGS,
  nameOf,
} from '../../../src/nbd/protocol/constants.js';
import { describeBlockDevice, expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { TOY_SIZE, ToyPlace } from './toy-place.js';
import { ALL_FLAGS, type ToyOptions } from './toy-server.js';

const FUA = COMMAND_FLAGS.NBD_CMD_FLAG_FUA;
const without = (...flags: number[]) => flags.reduce((left, flag) => left & ~flag, ALL_FLAGS);

function asked(place: ToyPlace): string[] {
  return place.server.requests.map(
    ({ command, flags }) => nameOf(COMMANDS, command).slice(8) + ((flags & FUA) === 0 ? '' : ' fua'),
  );
}

describe('what is asked of a server', () => {
  it.each<[string, number, string[]]>([
    ['that can all', ALL_FLAGS, ['WRITE', 'WRITE fua', 'WRITE_ZEROES', 'WRITE_ZEROES fua', 'TRIM', 'FLUSH']],
    [
      'without fua',
      without(FLAGS.NBD_FLAG_SEND_FUA),
      ['WRITE', 'WRITE', 'FLUSH', 'WRITE_ZEROES', 'WRITE_ZEROES', 'FLUSH', 'TRIM', 'FLUSH'],
    ],
    [
      'without flush',
      without(FLAGS.NBD_FLAG_SEND_FLUSH),
      ['WRITE fua', 'WRITE fua', 'WRITE_ZEROES fua', 'WRITE_ZEROES fua', 'TRIM fua'],
    ],
    [
      'without zeroes and trim',
      without(FLAGS.NBD_FLAG_SEND_WRITE_ZEROES, FLAGS.NBD_FLAG_SEND_TRIM),
      ['WRITE', 'WRITE fua', 'WRITE', 'WRITE fua', 'FLUSH'],
    ],
    ['without anything', FLAGS.NBD_FLAG_HAS_FLAGS, ['WRITE', 'WRITE', 'WRITE', 'WRITE']],
    // Without HAS_FLAGS the other bits mean nothing.
    ['without flags', ALL_FLAGS & ~FLAGS.NBD_FLAG_HAS_FLAGS, ['WRITE', 'WRITE', 'WRITE', 'WRITE']],
  ])('%s', async (_what, flags, wanted) => {
    const place = await ToyPlace.serving({ flags });
    const device = await place.open({ trustsWithoutFlush: true });
    await device.write(0, pattern(4096, 1));
    await device.write(4096, pattern(4096, 2), { fua: true });
    await device.writeZeroes(8192, 4096);
    await device.writeZeroes(12288, 4096, { fua: true });
    await device.trim(16384, 4096);
    await device.flush();
    expect(asked(place)).toEqual(wanted);
    expect(device.unflushedRanges()).toEqual([]);
    const content = await readAt(device, 0, 16384);
    expectSame(content.subarray(0, 8192), Buffer.concat([pattern(4096, 1), pattern(4096, 2)]));
    expectSame(content.subarray(8192), new Uint8Array(8192));
  });
});

describe('calls that are larger than a server takes', () => {
  it('are cut at its largest payload, aligned, and zeroes with them', async () => {
    const sizes = { minimum: 4096, preferred: 4096, maximumPayload: 69_000 };
    const place = await ToyPlace.serving({ sizes });
    const device = await place.open();
    expect(device.blockSize).toBe(4096);
    await device.write(4096, pattern(256 * 1024, 1));
    await device.writeZeroes(512 * 1024, 256 * 1024);
    expectSame(await readAt(device, 4096, 256 * 1024), pattern(256 * 1024, 1));
    const writes = place.server.requests.filter(({ command }) => command === COMMANDS.NBD_CMD_WRITE);
    expect(writes.map(({ offset, length }) => [offset, length])).toEqual([
      [4096, 61440],
      [65536, 65536],
      [131072, 65536],
      [196608, 65536],
      [262144, 4096],
    ]);
    expect(place.server.count(COMMANDS.NBD_CMD_WRITE_ZEROES)).toBe(4);
  });
});

it('an export whose size is no whole number of blocks ends with its last whole block', async () => {
  const place = await ToyPlace.serving({ size: TOY_SIZE - 100 });
  const device = await place.open();
  expect(device.size).toBe(TOY_SIZE - 512);
});

const OLD_FASHIONED: [string, ToyOptions][] = [
  ['that answers reads in pieces', {}],
  ['that knows only EXPORT_NAME', { knowsGo: false, isStructured: false }],
  ['that knows no structured replies', { isStructured: false }],
  ['that can write and nothing else', { flags: FLAGS.NBD_FLAG_HAS_FLAGS | FLAGS.NBD_FLAG_SEND_FLUSH }],
];
describe.each(OLD_FASHIONED)('over a server %s', (_what, options) => {
  describeBlockDevice('NbdDevice', {
    make: async () => {
      const place = await ToyPlace.serving(options);
      return { device: await place.open(), cleanup: async () => {} };
    },
    supports: {},
  });
});
