/**
 * TLS for a client (proto.md, "TLS support"): certificates as libnbd and qemu lay them out in a directory, and the
 * upgrade of a connection whose server has agreed to it.
 *
 * Invariants
 * - TLS 1.2 or later. The server is verified unless the URI says tls-verify-peer=0: the chain, and the name.
 * - Not one byte that arrived before the upgrade counts after it: somebody in between could have sent it.
 */
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { type ConnectionOptions, checkServerIdentity, connect, type TLSSocket } from 'node:tls';
import { readCertificateFile } from '../certificate-file.js';
import { lost, refusedBy } from './client-errors.js';
import type { NbdTarget } from './uri.js';

export type TlsCredentials = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'crl'>;

/**
 * Reads what tls-certificates names. Without ca-cert.pem the authorities that Node trusts are used; a client
 * certificate is shown where there is one.
 *
 * @throws UserError for a file that is there and cannot be read, for half a pair, and for a directory without any.
 */
export async function readCredentials(target: NbdTarget): Promise<TlsCredentials> {
  const directory = target.tls?.certificates ?? null;
  if (directory === null) return {};
  const [ca, cert, key, crl] = await Promise.all(
    (['ca-cert.pem', 'client-cert.pem', 'client-key.pem', 'ca-crl.pem'] as const).map((name) =>
      readCertificateFile(directory, name),
    ),
  );
  const hint = `A directory of certificates holds ca-cert.pem, and client-cert.pem with client-key.pem if the server asks for one.`;
  if (ca === null && cert === null && key === null) {
    throw refusedBy(target, 'VOLUME_NOT_FOUND', `${directory} holds no certificates`, hint);
  }
  if ((cert === null) !== (key === null)) {
    const missing = cert === null ? 'client-cert.pem' : 'client-key.pem';
    throw refusedBy(
      target,
      'VOLUME_NOT_FOUND',
      `${directory} has no ${missing}, and the other of the two`,
      hint,
    );
  }
  return {
    ...(ca === null ? {} : { ca }),
    ...(cert === null || key === null ? {} : { cert, key }),
    ...(crl === null ? {} : { crl }),
  };
}

/** Speaks TLS over a connection whose server has just agreed to. Nothing else may read from it. */
export function startTls(socket: Socket, target: NbdTarget, credentials: TlsCredentials): Promise<TLSSocket> {
  const { hostname, verifyPeer } = target.tls!;
  return new Promise((resolve, reject) => {
    const options: ConnectionOptions = {
      ...credentials,
      socket,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: verifyPeer,
      // A name for the server to choose its certificate by is never an address (RFC 6066, 3).
      servername: isIP(hostname) === 0 ? hostname : '',
      checkServerIdentity: (_host, certificate) => checkServerIdentity(hostname, certificate),
    };
    let secure: TLSSocket;
    const fail = (error: Error) => reject(tlsError(target, error));
    const ended = () => reject(lost(target, 'the connection ended while TLS was being started'));
    try {
      secure = connect(options);
    } catch (error) {
      // Certificates that cannot be parsed are told of at once.
      reject(error instanceof Error ? tlsError(target, error) : error);
      return;
    }
    secure.once('error', fail);
    secure.once('close', ended);
    secure.once('secureConnect', () => {
      secure.off('error', fail);
      secure.off('close', ended);
      resolve(secure);
    });
  });
}

function tlsError(target: NbdTarget, error: NodeJS.ErrnoException): Error {
  const broken = ['ECONNRESET', 'EPIPE', 'ETIMEDOUT'];
  if (broken.includes(error.code ?? ''))
    return lost(target, `TLS could not be started: ${error.message}`, error);
  return refusedBy(
    target,
    'REFUSED',
    `TLS could not be started: ${error.message}`,
    'Check tls-certificates (ca-cert.pem must have signed the certificate of the server) and tls-hostname.',
  );
}
