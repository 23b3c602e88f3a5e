/** NBD URIs: what doc/uri.md gives as examples, what is refused, and that no secret gets into a message. */
import { describe, expect, it } from 'vitest';
import { UserError } from '../../../src/errors.js';
import { isNbdUri, parseNbdUri } from '../../../src/nbd/client/uri.js';

function refusal(uri: string): UserError {
  try {
    parseNbdUri(uri);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error(`${uri} was to be refused`);
}

describe('an export name', () => {
  // The table of doc/uri.md, "NBD URI export name", and what its text says beside it.
  it.each([
    ['nbd://example.com/disk', 'disk'],
    ['nbd+unix:///disk?socket=sock', 'disk'],
    ['nbd://example.com/', ''],
    ['nbd://example.com', ''],
    ['nbd://example.com//disk', '/disk'],
    ['nbd://example.com/hello%20world', 'hello world'],
    ['nbd://example.com/a/../b', 'a/../b'],
    ['nbd://example.com/a+b%2Fc%3F%23', 'a+b/c?#'],
    ['nbd://example.com/%C3%A4%E2%82%AC', 'ä€'],
    ['nbd://example.com/ä', 'ä'],
    ['nbd+unix://?socket=sock', ''],
    [`nbd://example.com/${'x'.repeat(4096)}`, 'x'.repeat(4096)],
  ])('%s', (uri, name) => {
    expect(parseNbdUri(uri).exportName).toBe(name);
  });
});

describe('an address', () => {
  it.each([
    ['nbd://example.com/disk', 'example.com', 10809],
    ['nbd://example.com:10810', 'example.com', 10810],
    ['nbd://example.com:/x', 'example.com', 10809],
    ['nbd://10.0.0.1:1/x', '10.0.0.1', 1],
    ['nbd://[::1]/x', '::1', 10809],
    ['nbd://[2001:db8::7]:65535', '2001:db8::7', 65535],
    ['NBD://Example.com/x', 'Example.com', 10809],
    ['nbd:///x', 'localhost', 10809],
    ['nbds://example.com/x', 'example.com', 10809],
  ])('%s', (uri, host, port) => {
    expect(parseNbdUri(uri).address).toEqual({ kind: 'tcp', host, port });
  });

  it.each([
    ['nbd+unix:///?socket=nbd.sock', 'nbd.sock'],
    ['nbd+unix:///x?socket=/run/a+b%20c', '/run/a+b c'],
    ['nbd+unix:///?socket=%00/abstract', '\0/abstract'],
    ['nbds+unix:///x?tls-hostname=a&socket=/run/s', '/run/s'],
    ['nbd+unix:///x?socket=/run/a=b', '/run/a=b'],
  ])('%s', (uri, path) => {
    expect(parseNbdUri(uri).address).toEqual({ kind: 'unix', path });
  });
});

describe('TLS', () => {
  it.each([
    ['nbd://h/x', null],
    ['nbd+unix:///x?socket=s', null],
    ['nbds://h/x', { certificates: null, hostname: 'h', verifyPeer: true }],
    ['nbds+unix:///x?socket=s', { certificates: null, hostname: 'localhost', verifyPeer: true }],
    [
      'nbds://1.2.3.4/x?tls-type=x509&tls-certificates=/etc/pki/a%20b&tls-hostname=h2&tls-verify-peer=0',
      { certificates: '/etc/pki/a b', hostname: 'h2', verifyPeer: false },
    ],
  ])('%s', (uri, tls) => {
    expect(parseNbdUri(uri).tls).toEqual(tls);
  });
});

describe('what is refused', () => {
  it.each([
    ['http://example.com/x', 'USAGE', 'no NBD URI'],
    ['example.com', 'USAGE', 'no NBD URI'],
    ['', 'USAGE', 'no NBD URI'],
    ['nbdx://h/x', 'USAGE', 'no NBD URI'],
    ['nbd:example.com:10809', 'USAGE', '"//"'],
    ['nbd:unix:/run/sock', 'USAGE', '"//"'],
    ['nbd+vsock://2:10809/x', 'UNSUPPORTED', 'vsock'],
    ['nbds+vsock:///x', 'UNSUPPORTED', 'vsock'],
    ['nbd+unix:///x', 'USAGE', '"socket" is missing'],
    ['nbd+unix:///x?socket=', 'USAGE', '"socket" is missing'],
    ['nbd+unix://x?socket=s', 'USAGE', 'a Unix socket has none'],
    ['nbd+unix:///?socket=a%00b', 'USAGE', 'NUL'],
    ['nbd://h/x?socket=s', 'USAGE', 'nbd+unix'],
    ['nbd://h/a%00b', 'USAGE', 'NUL'],
    ['nbd://h/%', 'USAGE', 'percent-encoded'],
    ['nbd://h/%ff', 'USAGE', 'percent-encoded'],
    ['nbd://h/a b', 'USAGE', 'spaces'],
    ['nbd://h/a\nb', 'USAGE', 'control'],
    ['nbd://h/x#y', 'USAGE', '"#"'],
    [`nbd://h/${'%C3%A4'.repeat(2049)}`, 'USAGE', '4096 bytes'],
    ['nbd://h:0/x', 'USAGE', 'no port'],
    ['nbd://h:65536/x', 'USAGE', 'no port'],
    ['nbd://h:http/x', 'USAGE', 'no port'],
    ['nbd://::1/x', 'USAGE', 'host'],
    ['nbd://[1.2.3.4]/x', 'USAGE', 'no IPv6'],
    ['nbd://[fe80::1%25eth0]/x', 'USAGE', 'no IPv6'],
    ['nbd://h/x?cache=none', 'USAGE', '"cache" is not known'],
    ['nbd+unix:///x?socket=a&socket=b', 'USAGE', 'twice'],
    ['nbd://h/x?tls-certificates=/d', 'USAGE', 'TLS'],
    ['nbds://h/x?tls-verify-peer=no', 'USAGE', 'tls-verify-peer'],
    ['nbds://h/x?tls-certificates=', 'USAGE', 'empty'],
    ['nbds://h/x?tls-type=anon', 'UNSUPPORTED', 'anon'],
    ['nbds://h/x?tls-psk-file=/f', 'UNSUPPORTED', 'tls-psk-file'],
    ['nbds://alice@h/x', 'UNSUPPORTED', 'user name'],
  ])('%s', (uri, code, text) => {
    const error = refusal(uri);
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
    expect(error.details.image).toBeTypeOf('string');
  });
});

it('keeps secrets out of messages and details', () => {
  for (const uri of [
    'nbd://bob:hunter2@h/x',
    'nbds://bob:a@hunter2@h/x',
    'nbd://h/x?password=hunter2',
    'nbd://h:x/?%74oken=hunter2',
    'nbd://h/x?socket=s&token=hunter2',
    'nbd://h/x#hunter2',
  ]) {
    const error = refusal(uri);
    const told = [error.message, error.hint, JSON.stringify(error.details)].join();
    expect(told).not.toContain('hunter2');
    expect(told).not.toContain('bob');
  }
});

it.each([
  ['nbd://h/x', true],
  ['NBDS+UNIX:///x?socket=s', true],
  ['nbd+vsock://2', true],
  ['nbd:unix:/s', true],
  ['./nbd:x', false],
  ['/images/nbd', false],
  ['nbd', false],
])('%s is meant as an NBD URI: %s', (text, is) => {
  expect(isNbdUri(text)).toBe(is);
});
