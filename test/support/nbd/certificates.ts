/** Certificates for tests of TLS, made by openssl: an authority, what it signed, and what a stranger signed. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Identity {
  readonly key: Buffer;
  readonly cert: Buffer;
}

export interface Certificates {
  readonly ca: Buffer;
  /** Of `localhost`. */
  readonly server: Identity;
  readonly client: Identity;
  /** Signed by itself. */
  readonly stranger: Identity;
}

/** The files in `folder` have the names that qemu and libnbd look for: ca-cert.pem, server-cert.pem and so on. */
export function makeCertificates(folder: string): Certificates {
  const run = (line: string) =>
    execFileSync('openssl', line.split(' '), { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3';
  const signed = '-CA ca-cert.pem -CAkey ca-key.pem';
  run(`req -x509 ${key} -keyout ca-key.pem -out ca-cert.pem -subj /CN=authority`);
  run(`req -x509 ${key} -keyout stranger-key.pem -out stranger-cert.pem -subj /CN=stranger`);
  for (const [name, alt] of [
    ['server', 'DNS:localhost,IP:127.0.0.1'],
    ['client', 'DNS:client'],
  ])
    run(
      `req -x509 ${key} ${signed} -keyout ${name}-key.pem -out ${name}-cert.pem -subj /CN=${name} -addext subjectAltName=${alt} -addext basicConstraints=CA:FALSE`,
    );
  const file = (name: string) => readFileSync(join(folder, name));
  const identity = (name: string) => ({ key: file(`${name}-key.pem`), cert: file(`${name}-cert.pem`) });
  return {
    ca: file('ca-cert.pem'),
    server: identity('server'),
    client: identity('client'),
    stranger: identity('stranger'),
  };
}
