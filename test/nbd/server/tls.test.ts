/** STARTTLS: what it protects, what it forgets, and who is let in. */
import { execFile } from 'node:child_process';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { COMMANDS, ERROR_REPLIES, ERRORS, OPTIONS, REPLIES } from '../../../src/nbd/protocol/constants.js';
import { encodeOption } from '../../../src/nbd/protocol/handshake.js';
import {
  decodeInfo,
  encodeInfoRequest,
  encodeMetaContextRequest,
} from '../../../src/nbd/protocol/option-data.js';
import type { TlsPolicy } from '../../../src/nbd/server/wire-pair.js';
import { type Certificates, makeCertificates } from '../../support/nbd/certificates.js';
import { pattern, type RawClient } from '../../support/nbd/raw-client.js';
import { type Served, served } from '../../support/nbd/served.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { isInstalled } from '../client/servers.js';

const MIB = 1024 * 1024;
const { NBD_REP_ERR_TLS_REQD, NBD_REP_ERR_INVALID, NBD_REP_ERR_POLICY } = ERROR_REPLIES;
const go = encodeInfoRequest({ name: '', infos: [] });
const folder = await temporaryFolder();
let certificates: Certificates;

beforeAll(() => {
  certificates = makeCertificates(folder);
});

function withTls(required: boolean, options: TlsPolicy['options'] = {}): Promise<Served> {
  const tls = { required, options: { ...certificates.server, ...options } };
  return served([{ name: 'a', device: new MemoryDevice(64 * MIB) }], { tls });
}

async function secured(client: RawClient, identity: object = {}): Promise<RawClient> {
  await client.startTls({ ca: certificates.ca, servername: 'localhost', ...identity });
  return client;
}

describe('where TLS is required', () => {
  it.each([
    ['LIST', OPTIONS.NBD_OPT_LIST, undefined],
    ['INFO', OPTIONS.NBD_OPT_INFO, go],
    ['GO', OPTIONS.NBD_OPT_GO, go],
    ['STRUCTURED_REPLY', OPTIONS.NBD_OPT_STRUCTURED_REPLY, undefined],
    ['what nobody knows', 77, undefined],
  ])('%s is answered with TLS_REQD before, and taken after', async (_name, option, data) => {
    const client = await (await withTls(true)).greeted();
    expect(await client.verdict(option, data)).toBe(NBD_REP_ERR_TLS_REQD);
    await secured(client);
    expect(await client.verdict(option, data)).not.toBe(NBD_REP_ERR_TLS_REQD);
  });

  it('EXPORT_NAME without it ends the connection, ABORT is answered', async () => {
    const { greeted } = await withTls(true);
    const [one, other] = [await greeted(), await greeted()];
    one.send(encodeOption(OPTIONS.NBD_OPT_EXPORT_NAME));
    expect(await one.ended()).toBe(0);
    expect(await other.verdict(OPTIONS.NBD_OPT_ABORT)).toBe(REPLIES.NBD_REP_ACK);
  });

  it('data goes both ways, small and large, and a second STARTTLS is refused', async () => {
    const { greeted, server } = await withTls(true);
    const client = await secured(await greeted());
    expect(await client.verdict(OPTIONS.NBD_OPT_STARTTLS)).toBe(NBD_REP_ERR_INVALID);
    await client.begin({ structured: true });
    const data = pattern(20 * MIB);
    expect((await client.ask({ command: COMMANDS.NBD_CMD_WRITE, data })).error).toBe(0);
    expect((await client.read(0, data.byteLength)).equals(data)).toBe(true);
    expect(server.status().connections).toMatchObject([{ secure: true, structured: true, peer: 'unix' }]);
    client.post({ command: COMMANDS.NBD_CMD_DISC });
    expect(await client.ended()).toBe(0);
  });
});

describe('what was said in plain text', () => {
  it('has no effect behind STARTTLS', async () => {
    const client = await (await withTls(false)).greeted();
    const contexts = encodeMetaContextRequest({ name: 'a', queries: ['base:allocation'] });
    await client.accepted(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
    await client.accepted(OPTIONS.NBD_OPT_SET_META_CONTEXT, contexts);
    await secured(client);
    expect(await client.verdict(OPTIONS.NBD_OPT_SET_META_CONTEXT, contexts)).toBe(NBD_REP_ERR_INVALID);
    const [info] = await client.accepted(OPTIONS.NBD_OPT_GO, go);
    expect(decodeInfo(info!.data)).toMatchObject({ kind: 'export' });
    const read = await client.ask({ command: COMMANDS.NBD_CMD_READ, length: 512 });
    expect(read.isStructured).toBe(false);
    const status = await client.ask({ command: COMMANDS.NBD_CMD_BLOCK_STATUS, length: 512 });
    expect(status.error).toBe(ERRORS.NBD_EINVAL);
  });

  it('right behind STARTTLS ends the connection: nothing of it is heard', async () => {
    const client = await (await withTls(false)).greeted();
    client.send(
      Buffer.concat([
        encodeOption(OPTIONS.NBD_OPT_STARTTLS),
        encodeOption(OPTIONS.NBD_OPT_STRUCTURED_REPLY),
        encodeOption(OPTIONS.NBD_OPT_GO, go),
      ]),
    );
    expect(await client.ended()).toBe(0);
  });

  it('instead of the handshake of TLS ends the connection', async () => {
    const { greeted, server } = await withTls(false);
    const client = await greeted();
    await client.accepted(OPTIONS.NBD_OPT_STARTTLS);
    client.send(encodeOption(OPTIONS.NBD_OPT_GO, go));
    await client.ended();
    while (server.status().handshakes > 0) await setImmediate();
    expect(server.status().connections).toEqual([]);
  });
});

describe('who is let in', () => {
  const strict = () => ({ ca: certificates.ca, requestCert: true });

  it('a client with a certificate of the authority', async () => {
    const client = await secured(await (await withTls(true, strict())).greeted(), certificates.client);
    await client.begin({});
    expect((await client.read(0, 512)).byteLength).toBe(512);
  });

  it.each(['none', 'stranger'] as const)('not a client with another certificate: %s', async (who) => {
    const { greeted, server } = await withTls(true, strict());
    const identity = who === 'none' ? {} : certificates.stranger;
    const client = await greeted();
    const attempt = secured(client, identity).then((peer) => peer.verdict(OPTIONS.NBD_OPT_LIST));
    await expect(attempt).rejects.toThrow();
    while (server.status().handshakes > 0) await setImmediate();
    expect(server.status().connections).toEqual([]);
  });

  it('not with data in STARTTLS, nor a client without the fixed newstyle', async () => {
    const { greeted } = await withTls(false);
    expect(await (await greeted()).verdict(OPTIONS.NBD_OPT_STARTTLS, Buffer.from('x'))).toBe(
      NBD_REP_ERR_INVALID,
    );
    expect(await (await greeted(0)).verdict(OPTIONS.NBD_OPT_STARTTLS)).toBe(NBD_REP_ERR_POLICY);
  });

  it('not with TLS 1.1', async () => {
    const { greeted } = await withTls(true);
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    await expect(secured(await greeted(), old)).rejects.toThrow();
  });
});

it('a client that hangs in the handshake of TLS has its time', async () => {
  const tls = { required: true, options: certificates.server };
  const { greeted, server } = await served([{ name: 'a', device: new MemoryDevice(MIB) }], {
    tls,
    handshakeLimitMs: 100,
  });
  const client = await greeted();
  await client.accepted(OPTIONS.NBD_OPT_STARTTLS);
  await client.ended();
  while (server.status().handshakes > 0) await setImmediate();
});

it.runIf(isInstalled('nbdinfo'))('libnbd comes to terms with it', async () => {
  const { server } = await withTls(true, { ca: certificates.ca, requestCert: true });
  const { port } = await server.listenTcp({ host: '127.0.0.1', port: 0 });
  const uri = `nbds://127.0.0.1:${port}/a?tls-certificates=${folder}`;
  const { stdout } = await promisify(execFile)('nbdinfo', ['--json', uri]);
  expect(JSON.parse(stdout)).toMatchObject({ TLS: true, exports: [{ 'export-size': 64 * MIB }] });
});
