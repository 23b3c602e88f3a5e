/**
 * A server's certificates, as qemu, nbdkit and libnbd lay them out in a directory: server-cert.pem and server-key.pem,
 * ca-cert.pem with the authority that clients' certificates have to come from, ca-crl.pem with those that are
 * revoked.
 */
import { join } from 'node:path';
import { createSecureContext, type TlsOptions } from 'node:tls';
import { UserError } from '../../errors.js';
import { readCertificateFile } from '../certificate-file.js';
import type { TlsPolicy } from './wire-pair.js';

/**
 * `verifyPeer`: only clients that show a certificate of that authority are served.
 *
 * @throws UserError VOLUME_NOT_FOUND for a file that is missing, USAGE for what is no certificate or no key of it.
 */
export async function readServerCertificates(directory: string, verifyPeer: boolean): Promise<TlsPolicy> {
  const [cert, key] = await Promise.all([
    readFrom(directory, 'server-cert.pem'),
    readFrom(directory, 'server-key.pem'),
  ]);
  const ca = verifyPeer ? await readFrom(directory, 'ca-cert.pem') : null;
  const crl = verifyPeer ? await readCertificateFile(directory, 'ca-crl.pem') : null;
  const options: TlsOptions = {
    cert,
    key,
    ...(ca === null ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
    ...(crl === null ? {} : { crl }),
  };
  try {
    createSecureContext(options);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UserError('USAGE', `${directory}: its certificates cannot be used: ${why}`, {
      hint: 'server-key.pem has to be the key of server-cert.pem, both in PEM',
      details: { directory },
      cause,
    });
  }
  return { options, required: true };
}

async function readFrom(directory: string, name: string): Promise<Buffer> {
  const found = await readCertificateFile(directory, name);
  if (found !== null) return found;
  throw new UserError('VOLUME_NOT_FOUND', `${join(directory, name)}: no such file`, {
    hint: 'a directory of certificates holds server-cert.pem and server-key.pem, and ca-cert.pem where clients have to show theirs',
    details: { file: join(directory, name) },
  });
}
