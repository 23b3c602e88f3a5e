/** TLS with a server that demands it, one that does not know it, and certificates that do not fit. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { UserError } from '../../../src/errors.js';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { isInstalled, ServerPlace } from './servers.js';
import { ToyPlace } from './toy-place.js';

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function openssl(folder: string, ...args: string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
}

/** An authority, and what it signed: a server called `localhost` and `disks.example`, and a client. */
function makeCertificates(folder: string): void {
  mkdirSync(folder);
  openssl(
    folder,
    'req',
    '-x509',
    ...KEY,
    '-keyout',
    'ca-key.pem',
    '-out',
    'ca-cert.pem',
    '-subj',
    '/CN=ca',
    '-days',
    '2',
  );
  writeFileSync(join(folder, 'server.ext'), 'subjectAltName=DNS:localhost,DNS:disks.example,IP:127.0.0.1\n');
  writeFileSync(join(folder, 'client.ext'), 'subjectAltName=DNS:client\n');
  for (const who of ['server', 'client']) {
    openssl(folder, 'req', ...KEY, '-keyout', `${who}-key.pem`, '-out', `${who}.csr`, '-subj', `/CN=${who}`);
    const sign = ['-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', '2'];
    openssl(
      folder,
      'x509',
      '-req',
      '-in',
      `${who}.csr`,
      ...sign,
      '-out',
      `${who}-cert.pem`,
      '-extfile',
      `${who}.ext`,
    );
  }
}

let folder = '';
const of = (name: string) => `&tls-certificates=${join(folder, name)}`;

async function refusal(uri: string): Promise<UserError> {
  const error = await NbdDevice.open(uri, { readOnly: true }).then(
    async (device) => {
      await device.close();
      return new Error('it was to be refused');
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof UserError)) throw error;
  expect(error.message).toContain(uri);
  return error;
}

async function writesAndReads(uri: string): Promise<void> {
  const device = await NbdDevice.open(uri, { readOnly: false });
  onTestFinished(() => device.close());
  const writes = Array.from({ length: 8 }, (_, i) => device.write(i * 131072, pattern(131072, i)));
  await Promise.all(writes);
  await device.flush();
  for (let i = 0; i < 8; i++) expectSame(await readAt(device, i * 131072, 131072), pattern(131072, i));
}

if (isInstalled('nbdkit') && isInstalled('openssl', 'version')) {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-tls-'));
    makeCertificates(join(folder, 'good'));
    makeCertificates(join(folder, 'other'));
    mkdirSync(join(folder, 'authority'));
    copyFileSync(join(folder, 'good', 'ca-cert.pem'), join(folder, 'authority', 'ca-cert.pem'));
    mkdirSync(join(folder, 'half'));
    copyFileSync(join(folder, 'good', 'client-cert.pem'), join(folder, 'half', 'client-cert.pem'));
    mkdirSync(join(folder, 'broken'));
    writeFileSync(join(folder, 'broken', 'ca-cert.pem'), 'no certificate\n');
    mkdirSync(join(folder, 'empty'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const serving = async (...args: string[]) => {
    const place = await ServerPlace.make();
    onTestFinished(() => place.remove());
    await place.nbdkit(`--tls-certificates=${join(folder, 'good')}`, ...args, 'memory', '2M');
    return place;
  };

  describe('a server that demands TLS', () => {
    it.each([
      ['with its authority', 'authority', ''],
      ['by another of its names', 'authority', '&tls-hostname=disks.example'],
      ['by its address', 'authority', '&tls-hostname=127.0.0.1'],
      ['unverified', 'other', '&tls-verify-peer=0'],
    ])('is written and read %s', async (_what, certificates, more) => {
      const place = await serving('--tls=require');
      await writesAndReads(place.uri('', of(certificates) + more, 'nbds+unix'));
    });

    it('and a certificate of the client is shown one', async () => {
      const place = await serving('--tls=require', '--tls-verify-peer');
      await writesAndReads(place.uri('', of('good'), 'nbds+unix'));
      const device = NbdDevice.open(place.uri('', of('authority'), 'nbds+unix'), { readOnly: true });
      await expect(device).rejects.toBeInstanceOf(UserError);
    });

    it('tells those who come without how to come', async () => {
      const place = await serving('--tls=require');
      const error = await refusal(place.uri());
      expect(error.code).toBe('REFUSED');
      expect(error.message).toContain('the server speaks only TLS');
      expect(error.hint).toContain('nbds');
    });

    it.each([
      ['signed by another authority', 'other', '', 'REFUSED', 'TLS could not be started'],
      ['of another name', 'authority', '&tls-hostname=elsewhere.example', 'REFUSED', 'elsewhere.example'],
      ['with an authority that is none', 'broken', '', 'REFUSED', 'TLS could not be started'],
      ['with half a pair', 'half', '', 'VOLUME_NOT_FOUND', 'no client-key.pem'],
      ['with an empty directory', 'empty', '', 'VOLUME_NOT_FOUND', 'no certificates'],
      ['with no directory', 'nowhere', '', 'VOLUME_NOT_FOUND', 'no certificates'],
    ])('is not trusted %s', async (_what, certificates, more, code, text) => {
      const place = await serving('--tls=require');
      const error = await refusal(place.uri('', of(certificates) + more, 'nbds+unix'));
      expect(error.code).toBe(code);
      expect(error.message).toContain(text);
    });
  });

  it('a server that can do without is spoken to in plain where nobody asks for TLS', async () => {
    const place = await serving('--tls=on');
    await writesAndReads(place.uri());
  });

  it('a connection with TLS survives its server', async () => {
    const place = await serving('--tls=require');
    const uri = place.uri('', of('authority'), 'nbds+unix');
    const device = await NbdDevice.open(uri, {
      readOnly: false,
      reconnect: { withinMs: 50_000, tries: 100_000 },
    });
    onTestFinished(() => device.close());
    await device.write(0, pattern(65536, 1));
    await place.killServers();
    await place.nbdkit('--tls=require', `--tls-certificates=${join(folder, 'good')}`, 'memory', '2M');
    expectSame(await readAt(device, 0, 65536), pattern(65536, 1));
  });
}

it('a server without TLS is not spoken to in plain when TLS was asked for', async () => {
  const place = await ToyPlace.serving();
  const error = await refusal(place.uri.replace('nbd+', 'nbds+'));
  expect(error.code).toBe('REFUSED');
  expect(error.message).toContain('the server does not speak TLS');
});
