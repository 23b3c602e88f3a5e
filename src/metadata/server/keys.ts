/**
 * The keys of what the metadata server keeps in its engine. A key is a byte that says what it is, then numbers of
 * eight bytes each, big-endian, so that keys sort as their numbers do; or a name.
 *
 *   C                        the configuration             K                     counters
 *   N name                   -> file                       I file                -> inode
 *   M map                    -> map                        P parent map          -> its children
 *   E map index              -> entry                      G group               -> bitmap of extents that are taken
 *   J extent                 -> journal extent             j client extent       the same by client
 *   A file index client      -> journal extent, not hardened
 *   B extent which           -> flags of a journal extent: marked (0), cleared (1)
 *   T transaction            -> transaction                t transaction n       -> its entries
 *   H file index transaction -> n: what waits to be done, oldest first
 *   Z file transaction       -> size                       z transaction file    the same by transaction
 *   c name of a client       -> client                     L client              -> client's record
 *   Q file client            -> lock                       q client file         the same by client
 *   Y client file            -> what is kept of it, not hardened (flag-places.ts)
 *   R map                    a map that is being emptied X map                   one that is merged into its child
 *   D file                   a removed file whose associations are being dropped
 *   W client                 -> where to go on: a client whose journal extents are being freed
 */
import { createHash } from 'node:crypto';

const encoder = new TextEncoder();

/** The engine takes keys of this many bytes. */
const MAX_KEY_BYTES = 255;
const HASH_BYTES = 32;
const NUMBER_BYTES = 8;

export type Prefix =
  | 'C'
  | 'K'
  | 'N'
  | 'I'
  | 'M'
  | 'P'
  | 'E'
  | 'G'
  | 'J'
  | 'j'
  | 'A'
  | 'B'
  | 'T'
  | 't'
  | 'H'
  | 'Z'
  | 'z'
  | 'c'
  | 'L'
  | 'Q'
  | 'q'
  | 'Y'
  | 'R'
  | 'X'
  | 'D'
  | 'W';

/** Numbers are below 2 to the 53: in two halves, because BigInts are slow and keys are made all the time. */
const HALF = 2 ** 32;

/** Byte by byte: a view of each would take five times as long. */
export function key(prefix: Prefix, ...numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(1 + numbers.length * NUMBER_BYTES);
  bytes[0] = prefix.charCodeAt(0);
  let at = 1;
  for (const number of numbers) {
    at = putHalf(bytes, at, Math.floor(number / HALF));
    at = putHalf(bytes, at, number % HALF);
  }
  return bytes;
}

/** Big-endian. Gives where the next one goes. */
function putHalf(bytes: Uint8Array, at: number, half: number): number {
  bytes[at] = half >>> 24;
  bytes[at + 1] = half >>> 16;
  bytes[at + 2] = half >>> 8;
  bytes[at + 3] = half;
  return at + 4;
}

/** The number at this place of a key of numbers. */
export function numberOf(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(1 + at * NUMBER_BYTES) * HALF + view.getUint32(5 + at * NUMBER_BYTES);
}

/**
 * The key of a name. One that is as long as a key may be has no room for the prefix: the end of such a one is a hash,
 * so whoever looks a name up compares it with the inode's.
 */
export function nameKey(prefix: 'N' | 'c', name: string): Uint8Array {
  let bytes = encoder.encode(name);
  if (bytes.length > MAX_KEY_BYTES - 1) {
    const hash = createHash('sha256').update(bytes).digest();
    bytes = Buffer.concat([bytes.subarray(0, MAX_KEY_BYTES - 1 - HASH_BYTES), hash]);
  }
  const whole = new Uint8Array(1 + bytes.length);
  whole[0] = prefix.charCodeAt(0);
  whole.set(bytes, 1);
  return whole;
}

export interface KeyRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** All keys that begin with this one. */
export function under(start: Uint8Array): KeyRange {
  const to = start.slice();
  let last = to.length - 1;
  while (last >= 0 && to[last] === 0xff) last -= 1;
  to[last]! += 1;
  return { from: start, to: to.subarray(0, last + 1) };
}

/** The first key after this one. */
export function after(start: Uint8Array): Uint8Array {
  const next = new Uint8Array(start.length + 1);
  next.set(start);
  return next;
}
