/**
 * 128 bits that stand for the content of some devices, and that cost a change no more than the sectors that it
 * changes: the exclusive or, over all sectors, of a hash of (device, sector, content).
 *
 * Invariants
 * - A sector of zeroes counts as nothing: blank devices hash to 0 whatever their size, and the hash of a state
 *   does not depend on how it came about.
 * - The order of changes does not matter, and a change that is taken back leaves no trace.
 *
 * The hash of a sector is MurmurHash3_x86_128 (Austin Appleby, public domain), its four states started from device
 * and sector. Among ten million states two would be taken for one with a probability of about 10^-25.
 */

export const SECTOR_BYTES = 512;
/** A hash is four words of 32 bits, somewhere in an array of its user's. */
export const HASH_WORDS = 4;

const ZEROES = new Uint8Array(SECTOR_BYTES);
const scratch = new Uint8Array(SECTOR_BYTES);
const words = new Int32Array(scratch.buffer);

/** Puts the hash of one sector's content (null: zeroes) at `at`. */
export function hashSector(
  device: number,
  sector: number,
  content: Uint8Array | null,
  into: Int32Array,
  at: number,
): void {
  if (content === null || (content[0] === 0 && Buffer.compare(content, ZEROES) === 0)) {
    into.fill(0, at, at + HASH_WORDS);
    return;
  }
  // Murmur reads words; the caller's bytes need not lie where words may.
  scratch.set(content);
  const low = scramble(sector | 0);
  const high = scramble(Math.floor(sector / 2 ** 32) | 0);
  const number = scramble((device + 1) | 0);
  murmur(low, high ^ number, Math.imul(low, 0x9e3779b1) ^ number, scramble(low ^ high ^ number), into, at);
}

/** Adds (or takes away) one hash to another. */
export function xorHash(into: Int32Array, at: number, from: Int32Array, start: number): void {
  into[at]! ^= from[start]!;
  into[at + 1]! ^= from[start + 1]!;
  into[at + 2]! ^= from[start + 2]!;
  into[at + 3]! ^= from[start + 3]!;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** Murmur's fmix32. */
function scramble(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** Over `words`. The names are those of the original. */
function murmur(s1: number, s2: number, s3: number, s4: number, into: Int32Array, at: number): void {
  const [c1, c2, c3, c4] = [0x239b961b, 0xab0e9789, 0x38b34ae5, 0xa1e38b93];
  let [h1, h2, h3, h4] = [s1, s2, s3, s4];
  for (let i = 0; i < words.length; i += HASH_WORDS) {
    h1 ^= Math.imul(rotate(Math.imul(words[i]!, c1), 15), c2);
    h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0;
    h2 ^= Math.imul(rotate(Math.imul(words[i + 1]!, c2), 16), c3);
    h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0;
    h3 ^= Math.imul(rotate(Math.imul(words[i + 2]!, c3), 17), c4);
    h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0;
    h4 ^= Math.imul(rotate(Math.imul(words[i + 3]!, c4), 18), c1);
    h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
  }
  h1 = (h1 + h2 + h3 + h4) | 0;
  [h2, h3, h4] = [(h2 + h1) | 0, (h3 + h1) | 0, (h4 + h1) | 0];
  [h1, h2, h3, h4] = [scramble(h1), scramble(h2), scramble(h3), scramble(h4)];
  h1 = (h1 + h2 + h3 + h4) | 0;
  into[at] = h1;
  into[at + 1] = h2 + h1;
  into[at + 2] = h3 + h1;
  into[at + 3] = h4 + h1;
}
