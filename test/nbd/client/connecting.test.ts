/** What opening an export can end in, and that every error says of which export. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { UserError } from '../../../src/errors.js';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { ERROR_REPLIES, TRANSMISSION_FLAGS } from '../../../src/nbd/protocol/constants.js';
import { encodeGreeting } from '../../../src/nbd/protocol/handshake.js';
import { expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { ToyPlace } from './toy-place.js';
import { ALL_FLAGS, type ToyOptions } from './toy-server.js';

async function refusal(
  uri: string,
  options: Partial<Parameters<typeof NbdDevice.open>[1]> = {},
): Promise<UserError> {
  const outcome = await NbdDevice.open(uri, { readOnly: false, ...options }).then(
    async (device) => {
      await device.close();
      return new Error('it was to be refused');
    },
    (error: unknown) => error,
  );
  if (!(outcome instanceof UserError)) throw outcome;
  expect(outcome.details.image).toBe(uri);
  expect(outcome.message.startsWith(`${uri}: `)).toBe(true);
  return outcome;
}

/** Something that listens on a socket and does as it is told with each connection. */
async function listener(path: string, talk: (socket: net.Socket) => void): Promise<string> {
  const server = net.createServer((socket) => talk(socket.on('error', () => undefined)));
  server.listen(path);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `nbd+unix:///disk?socket=${path}`;
}

describe('nobody there', () => {
  it('no socket', async () => {
    const path = join(await scratchDirectory(), 'socket');
    const error = await refusal(`nbd+unix:///?socket=${path}`);
    expect(error.code).toBe('VOLUME_NOT_FOUND');
    expect(error.message).toContain(`there is no socket ${path}`);
  });

  it('a socket that nobody listens on', async () => {
    const place = await ToyPlace.serving();
    // A server that is killed leaves its socket behind; this one is closed in good manners, so make one.
    const path = join(await scratchDirectory(), 'file');
    await writeFile(path, '');
    const error = await refusal(place.uri.replace(place.socket, path));
    expect(error.message).toMatch(/no socket|refused/);
  });

  it('a port that nobody listens on', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    server.close();
    await once(server, 'close');
    const error = await refusal(`nbd://127.0.0.1:${port}/x`);
    expect(error.code).toBe('IO_ERROR');
    expect(error.message).toContain(`no server listens at 127.0.0.1:${port}`);
    expect(error.hint).toContain('Start the server');
  });
});

describe('somebody else there', () => {
  it.each<[string, (socket: net.Socket) => void, string]>([
    ['says nothing', () => undefined, 'has not answered within 50 ms'],
    ['closes at once', (socket) => void socket.end(), 'the connection ended'],
    ['speaks HTTP', (socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'), 'no NBD server'],
    [
      'speaks the old style',
      (socket) => void socket.write(Buffer.concat([Buffer.from('NBDMAGIC'), Buffer.alloc(144)])),
      'old style',
    ],
    [
      'greets, and says nothing more',
      (socket) => void socket.write(encodeGreeting(3)),
      'has not answered within 50 ms',
    ],
    [
      'answers options with garbage',
      (socket) => void socket.write(Buffer.concat([encodeGreeting(3), Buffer.alloc(64, 7)])),
      'no NBD server',
    ],
  ])('%s', async (_what, talk, text) => {
    const uri = await listener(join(await scratchDirectory(), 'socket'), talk);
    const error = await refusal(uri, { connectTimeoutMs: 50 });
    expect(error.message).toContain(text);
  });
});

describe('an export that cannot be had', () => {
  const only = (flags: number) => TRANSMISSION_FLAGS.NBD_FLAG_HAS_FLAGS | flags;
  it.each<[string, ToyOptions, string, string]>([
    ['is not known', { exportName: 'other' }, 'VOLUME_NOT_FOUND', 'the server has no export "disk"'],
    [
      'is not known to an old server',
      { exportName: 'other', knowsGo: false },
      'IO_ERROR',
      'asked for the export "disk"',
    ],
    [
      'is read only',
      { flags: ALL_FLAGS | TRANSMISSION_FLAGS.NBD_FLAG_READ_ONLY },
      'PERMISSION_DENIED',
      'read only',
    ],
    ['has neither flush nor fua', { flags: only(0) }, 'UNSUPPORTED', 'neither flush nor force unit access'],
    [
      'wants TLS',
      { optionError: ERROR_REPLIES.NBD_REP_ERR_TLS_REQD },
      'REFUSED',
      'the server speaks only TLS: as the test says',
    ],
    ['is forbidden', { optionError: ERROR_REPLIES.NBD_REP_ERR_POLICY }, 'REFUSED', 'NBD_REP_ERR_POLICY'],
    ['is going away', { optionError: ERROR_REPLIES.NBD_REP_ERR_SHUTDOWN }, 'IO_ERROR', 'shutting down'],
    [
      'has strange blocks',
      { sizes: { minimum: 3, preferred: 4096, maximumPayload: 2 ** 20 } },
      'UNSUPPORTED',
      'blocks of 3',
    ],
    [
      'takes too little',
      { sizes: { minimum: 1, preferred: 4096, maximumPayload: 100 } },
      'UNSUPPORTED',
      'at most 100',
    ],
    ['is too large', { size: 2 ** 60 }, 'UNSUPPORTED', 'larger than can be addressed'],
  ])('%s', async (_what, options, code, text) => {
    const place = await ToyPlace.serving(options);
    const error = await refusal(place.uri);
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
    expect(place.server.requests).toEqual([]);
  });

  it('is read only, and can be read', async () => {
    const flags = TRANSMISSION_FLAGS.NBD_FLAG_HAS_FLAGS | TRANSMISSION_FLAGS.NBD_FLAG_READ_ONLY;
    const place = await ToyPlace.serving({ flags });
    const device = await place.open({ readOnly: true });
    expectSame(await readAt(device, 0, 4096), new Uint8Array(4096));
    await device.flush();
  });
});

it.each(['127.0.0.1', '::1', 'localhost'])('connects over TCP to %s', async (host) => {
  const place = await ToyPlace.serving();
  const proxy = net.createServer((socket) => {
    const behind = net.connect(place.socket);
    for (const end of [socket, behind]) end.on('error', () => undefined);
    socket.pipe(behind).pipe(socket);
  });
  proxy.listen(0, host);
  await once(proxy, 'listening');
  onTestFinished(() => void proxy.close());
  const { port } = proxy.address() as net.AddressInfo;
  const uri = `nbd://${host.includes(':') ? `[${host}]` : host}:${port}/disk`;
  const device = await NbdDevice.open(uri, { readOnly: false });
  expect(device.name).toBe(uri);
  await device.write(0, pattern(65536, 1));
  expectSame(await readAt(device, 0, 65536), pattern(65536, 1));
  await device.close();
});
