/**
 * The bits of one page of a map, as 120 words of 32. Bit b is bit b % 32, from the lowest, of word b / 32. Ranges of bits are
 * from `low` (included) to `high` (excluded), within the page.
 */

export const PAGE_BITS = 3840;
export const PAGE_WORDS = PAGE_BITS / 32;

/** Shared by all pages of which every bit is set, so never written to. */
export const FULL_PAGE: Uint32Array = new Uint32Array(PAGE_WORDS).fill(0xffff_ffff);

/** The bits of word `word` that lie in [low, high). */
function maskOf(word: number, low: number, high: number): number {
  const from = Math.max(low - word * 32, 0);
  const to = Math.min(high - word * 32, 32);
  const upper = to === 32 ? 0xffff_ffff : 2 ** to - 1;
  return (upper & ~(2 ** from - 1)) >>> 0;
}

export function countBits(word: number): number {
  let bits = word - ((word >>> 1) & 0x5555_5555);
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

export function countWords(words: Uint32Array): number {
  let count = 0;
  for (const word of words) count += countBits(word);
  return count;
}

/** Sets or clears [low, high); gives how many bits changed. */
export function putBits(words: Uint32Array, low: number, high: number, isSet: boolean): number {
  let changed = 0;
  for (let at = low >>> 5; at * 32 < high; at++) {
    const mask = maskOf(at, low, high);
    const old = words[at]!;
    const next = isSet ? old | mask : old & ~mask;
    changed += countBits(old ^ next);
    words[at] = next;
  }
  return changed;
}

/** Whether [low, high) has no bit in the first that is not in the second; undefined has none. */
export function isWithin(
  words: Uint32Array | undefined,
  others: Uint32Array | undefined,
  low = 0,
  high = PAGE_BITS,
): boolean {
  if (words === undefined || words === others) return true;
  for (let at = low >>> 5; at * 32 < high; at++) {
    if ((words[at]! & ~(others?.[at] ?? 0) & maskOf(at, low, high)) !== 0) return false;
  }
  return true;
}

/** The first bit from `from` on that is set, or is not; PAGE_BITS: there is none. */
export function nextBit(words: Uint32Array, from: number, isSet: boolean): number {
  const flip = isSet ? 0 : 0xffff_ffff;
  for (let at = from >>> 5; at < PAGE_WORDS; at++) {
    const bits = (words[at]! ^ flip) & (at === from >>> 5 ? -1 << (from & 31) : -1);
    if (bits !== 0) return at * 32 + 31 - Math.clz32(bits & -bits);
  }
  return PAGE_BITS;
}
