/**
 * Where a volume is served, as an NBD URI (NBD doc/uri.md), and which places want care: what does not come from this
 * machine can read and write the volume as soon as it reaches the port.
 */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { UserError } from '../errors.js';

export const DEFAULT_PORT = 10809;

export interface ServePlaces {
  readonly socket?: string | undefined;
  readonly address?: string | undefined;
  readonly port?: number | undefined;
}

/** @throws UserError USAGE for an address that others can reach, without TLS and without a word that it may be. */
export function assertGuarded({ address }: ServePlaces, isGuarded: boolean): void {
  if (address === undefined || isGuarded || isLoopback(address)) return;
  throw new UserError('USAGE', `--address ${address}: other machines could read and write the volume there`, {
    hint: 'give --tls-certificates DIR (and --tls-verify-peer), or --allow-remote if the network is trusted',
  });
}

function isLoopback(address: string): boolean {
  if (address === 'localhost' || address === '::1') return true;
  return isIP(address) === 4 && address.startsWith('127.');
}

export function unixUri(socket: string, exportName: string, isSecure: boolean): string {
  const path = encodeURIComponent(resolve(socket)).replaceAll('%2F', '/');
  return `nbd${isSecure ? 's' : ''}+unix:///${encodeURIComponent(exportName)}?socket=${path}`;
}

export function tcpUri(host: string, port: number, exportName: string, isSecure: boolean): string {
  const at = host.includes(':') ? `[${host}]` : host;
  const end = port === DEFAULT_PORT ? '' : `:${port}`;
  return `nbd${isSecure ? 's' : ''}://${at}${end}/${encodeURIComponent(exportName)}`;
}
