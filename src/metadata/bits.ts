/**
 * Bitmaps, with a bit a block of an extent, an extent of a group, or a page: bit b is bit b % 8 (from the lowest) of
 * byte b / 8. All functions but setBit and clearBit leave what they are given as it is. Two bitmaps that meet are of
 * one length; bits past the last are never set.
 */

const ONES = new Uint8Array(256);
for (let byte = 1; byte < 256; byte++) ONES[byte] = ONES[byte >> 1]! + (byte & 1);

/** Bytes of a bitmap of so many blocks. */
export function bitmapBytes(blocks: number): number {
  return Math.ceil(blocks / 8);
}

export function noBits(blocks: number): Uint8Array {
  return new Uint8Array(bitmapBytes(blocks));
}

export function allBits(blocks: number): Uint8Array {
  const bits = new Uint8Array(bitmapBytes(blocks)).fill(0xff);
  if (blocks % 8 !== 0) bits[bits.length - 1] = 2 ** (blocks % 8) - 1;
  return bits;
}

export function hasBit(bits: Uint8Array, at: number): boolean {
  return ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
}

export function setBit(bits: Uint8Array, at: number): void {
  bits[at >> 3]! |= 1 << (at & 7);
}

export function clearBit(bits: Uint8Array, at: number): void {
  bits[at >> 3]! &= ~(1 << (at & 7));
}

export function countBits(bits: Uint8Array): number {
  let count = 0;
  for (const byte of bits) count += ONES[byte]!;
  return count;
}

export function isEmpty(bits: Uint8Array): boolean {
  return bits.every((byte) => byte === 0);
}

export function isFull(bits: Uint8Array, blocks: number): boolean {
  return isEqual(bits, allBits(blocks));
}

export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** In one or the other. */
export function union(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, at) => byte | b[at]!);
}

/** In the first and not in the second. */
export function without(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, at) => byte & ~b[at]!);
}

export function meet(a: Uint8Array, b: Uint8Array): boolean {
  return a.some((byte, at) => (byte & b[at]!) !== 0);
}

/** The set bits as runs, in order. */
export function* runsOf(bits: Uint8Array): Generator<{ start: number; count: number }> {
  const end = bits.length * 8;
  let at = 0;
  while (at < end) {
    if (!hasBit(bits, at)) {
      at += bits[at >> 3] === 0 ? 8 - (at & 7) : 1;
      continue;
    }
    const start = at;
    while (at < end && hasBit(bits, at)) at += 1;
    yield { start, count: at - start };
  }
}
