/**
 * What an NBD URI names: where the server listens, which export, and whether TLS is spoken.
 *
 * Sources: NBD doc/uri.md (schemes, authority, export name, `socket` and the `tls-` parameters); RFC 3986
 * (appendix B: how a URI is cut; 2.1: percent-encoding, in which "+" is a plus); RFC 6874 is not supported: an
 * IPv6 address with a zone is refused. `tls-certificates` is libnbd's: a directory.
 *
 * Invariants
 * - Nothing is guessed: what has no meaning here is refused and not passed over, above all what would have made
 *   the connection safer.
 * - `name` is fit for messages: it has no user information, and only parameters that are known and no secrets.
 */
import { isIP, isIPv6 } from 'node:net';
import { UserError } from '../../errors.js';
import { MAX_STRING_BYTES, NBD_PORT } from '../protocol/constants.js';

export type NbdAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** A path, or a name in the abstract namespace, which begins with NUL. */
  | { readonly kind: 'unix'; readonly path: string };

export interface NbdTlsChoice {
  /** A directory with ca-cert.pem, client-cert.pem and client-key.pem; null: the authorities that Node trusts. */
  readonly certificates: string | null;
  /** What the server's certificate must be made out to. */
  readonly hostname: string;
  readonly verifyPeer: boolean;
}

export interface NbdTarget {
  readonly name: string;
  readonly address: NbdAddress;
  /** '' is the default export. */
  readonly exportName: string;
  /** null: the connection is plain. Otherwise it is never plain beyond the request to start TLS. */
  readonly tls: NbdTlsChoice | null;
}

/** Whether `text` is meant as an NBD URI, well written or not: a file of such a name is written `./nbd:...`. */
export function isNbdUri(text: string): boolean {
  return /^nbds?(\+[a-z]+)?:/i.test(text);
}

const SCHEMES: Readonly<Record<string, { readonly tls: boolean; readonly kind: NbdAddress['kind'] }>> = {
  nbd: { tls: false, kind: 'tcp' },
  nbds: { tls: true, kind: 'tcp' },
  'nbd+unix': { tls: false, kind: 'unix' },
  'nbds+unix': { tls: true, kind: 'unix' },
};
const SCHEME_LIST = 'nbd://, nbds://, nbd+unix:// and nbds+unix://';
const UNIX_EXAMPLE = 'nbd+unix:///EXPORT?socket=PATH';

/** RFC 3986, appendix B. */
const PARTS = /^(?:([^:/?#]+):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s;
const TLS_PARAMETERS = ['tls-certificates', 'tls-hostname', 'tls-verify-peer', 'tls-type'];

/**
 * @throws UserError USAGE for what is no NBD URI, UNSUPPORTED for one that asks for what holdfast does not speak
 *   (vsock, TLS with shared keys or without certificates).
 */
export function parseNbdUri(uri: string): NbdTarget {
  const bad: Refuse = (why, hint, code = 'USAGE') => {
    const name = withoutSecrets(uri);
    throw new UserError(code, `${name}: ${why}`, {
      ...(hint === undefined ? {} : { hint }),
      details: { image: name },
    });
  };
  if (hasControlOrSpace(uri)) bad('a URI has no spaces and no control characters', 'Write %20 for a space.');
  const [, scheme, authority, path = '', query, fragment] = PARTS.exec(uri)!;
  const { tls, kind } = schemeOf(scheme?.toLowerCase() ?? '', bad);
  if (authority === undefined)
    bad('"//" must follow the scheme', `For example nbd://HOST/EXPORT or ${UNIX_EXAMPLE}.`);
  if (fragment !== undefined) bad('an NBD URI has no "#" part', 'Write %23 for a "#" in a name.');
  const parameters = parametersOf(query, bad);
  const address =
    kind === 'tcp' ? tcpAddress(authority, parameters, bad) : unixAddress(authority, parameters, bad);
  return {
    name: withoutSecrets(uri),
    address,
    exportName: exportNameOf(path, bad),
    tls: tlsOf(tls, address, parameters, bad),
  };
}

type Refuse = (why: string, hint?: string, code?: 'USAGE' | 'UNSUPPORTED') => never;

function hasControlOrSpace(text: string): boolean {
  return [...text].some((character) => character <= ' ' || character === '\x7f');
}

function schemeOf(scheme: string, bad: Refuse): { tls: boolean; kind: NbdAddress['kind'] } {
  const known = SCHEMES[scheme];
  if (known !== undefined) return known;
  if (/^nbds?\+vsock$/.test(scheme)) {
    bad('connections over vsock are not supported', `Supported are ${SCHEME_LIST}.`, 'UNSUPPORTED');
  }
  return bad('this is no NBD URI', `NBD URIs begin with ${SCHEME_LIST}.`);
}

function tcpAddress(authority: string, parameters: Map<string, string>, bad: Refuse): NbdAddress {
  refuseUser(authority, bad);
  if (parameters.has('socket')) bad('"socket" belongs to nbd+unix', `For example ${UNIX_EXAMPLE}.`);
  const parts = /^(\[[^\]]*\]|[^:[\]]*)(?::([^:]*))?$/.exec(authority);
  if (parts === null)
    bad('the host cannot be read', 'An IPv6 address is written in brackets: nbd://[::1]/EXPORT.');
  const [, written = '', portText] = parts;
  return { kind: 'tcp', host: hostOf(written, bad), port: portOf(portText, bad) };
}

function hostOf(written: string, bad: Refuse): string {
  if (written.startsWith('[')) {
    const inside = written.slice(1, -1);
    if (!isIPv6(inside) || inside.includes('%')) bad(`${written} is no IPv6 address`);
    return inside;
  }
  // Where nobody is named it is this machine, as nbdkit and libnbd have it.
  return written === '' ? 'localhost' : decoded(written, 'the host', bad);
}

function portOf(text: string | undefined, bad: Refuse): number {
  if (text === undefined || text === '') return NBD_PORT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65535) bad(`"${text}" is no port`, 'Ports are numbers from 1 to 65535.');
  return port;
}

function unixAddress(authority: string, parameters: Map<string, string>, bad: Refuse): NbdAddress {
  refuseUser(authority, bad);
  if (authority !== '') {
    bad(
      `"${authority}" stands where a host would, and a Unix socket has none`,
      `Three slashes: ${UNIX_EXAMPLE}.`,
    );
  }
  const path = parameters.get('socket') ?? '';
  if (path === '') bad('the parameter "socket" is missing', `For example ${UNIX_EXAMPLE}.`);
  if (path.includes('\0', 1)) bad('the path of the socket has a NUL in it');
  return { kind: 'unix', path };
}

function refuseUser(authority: string, bad: Refuse): void {
  if (!authority.includes('@')) return;
  bad(
    'a user name is for TLS with shared keys, which is not supported',
    'Leave out what stands before the "@"; certificates are named with tls-certificates=DIRECTORY.',
    'UNSUPPORTED',
  );
}

function exportNameOf(path: string, bad: Refuse): string {
  const name = decoded(path.slice(1), 'the export name', bad);
  if (name.includes('\0')) bad('the export name has a NUL in it');
  if (Buffer.byteLength(name) > MAX_STRING_BYTES)
    bad(`the export name is longer than ${MAX_STRING_BYTES} bytes`);
  return name;
}

function parametersOf(query: string | undefined, bad: Refuse): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of (query ?? '').split('&')) {
    if (part === '') continue;
    const at = part.indexOf('=');
    const key = decoded(at < 0 ? part : part.slice(0, at), 'a parameter', bad);
    if (found.has(key)) bad(`the parameter "${key}" is there twice`);
    if (key !== 'socket' && !key.startsWith('tls-')) bad(`the parameter "${key}" is not known`);
    found.set(key, decoded(at < 0 ? '' : part.slice(at + 1), `the parameter "${key}"`, bad));
  }
  return found;
}

function tlsOf(
  isAsked: boolean,
  address: NbdAddress,
  parameters: Map<string, string>,
  bad: Refuse,
): NbdTlsChoice | null {
  const named = [...parameters.keys()].filter((key) => key.startsWith('tls-'));
  if (!isAsked) {
    if (named.length > 0)
      bad(`"${named[0]}" is for connections with TLS`, 'Begin the URI with nbds instead of nbd.');
    return null;
  }
  const unknown = named.find((key) => !TLS_PARAMETERS.includes(key));
  const type = parameters.get('tls-type') ?? 'x509';
  if (type !== 'x509' || unknown !== undefined) {
    const what = unknown === undefined ? `tls-type=${type}` : `the parameter "${unknown}"`;
    bad(
      `${what} is not supported`,
      'TLS is spoken with certificates: tls-certificates=DIRECTORY.',
      'UNSUPPORTED',
    );
  }
  const verify = parameters.get('tls-verify-peer') ?? '1';
  if (verify !== '0' && verify !== '1') bad('tls-verify-peer is 0 or 1');
  for (const key of ['tls-certificates', 'tls-hostname']) {
    if (parameters.get(key) === '') bad(`the parameter "${key}" is empty`);
  }
  return {
    certificates: parameters.get('tls-certificates') ?? null,
    hostname: parameters.get('tls-hostname') ?? (address.kind === 'tcp' ? address.host : 'localhost'),
    verifyPeer: verify === '1',
  };
}

function decoded(text: string, what: string, bad: Refuse): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return bad(`${what} is not percent-encoded UTF-8`, 'Write %25 for a "%".');
  }
}

/** The URI as messages name it. What is not known may be a secret: it is left out. */
function withoutSecrets(uri: string): string {
  const [, scheme, authority, path, query] = PARTS.exec(uri)!;
  const host = authority === undefined ? '' : `//${authority.slice(authority.lastIndexOf('@') + 1)}`;
  const kept = (query ?? '').split('&').filter((part) => {
    const key = part.split('=', 1)[0]!;
    return key === 'socket' || TLS_PARAMETERS.includes(key);
  });
  return `${scheme === undefined ? '' : `${scheme}:`}${host}${path}${kept.length > 0 ? `?${kept.join('&')}` : ''}`;
}

/** How an address is told to people. */
export function addressText(address: NbdAddress): string {
  if (address.kind === 'unix') return address.path.replace(/^\0/, '@');
  return `${isIP(address.host) === 6 ? `[${address.host}]` : address.host}:${address.port}`;
}
