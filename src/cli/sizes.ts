/**
 * Sizes as people write and read them. `K`, `KiB` (and M, G, T, P) count in 1024s, `KB` in 1000s, a plain
 * number is bytes. Nothing else is a size: a fraction, a sign, a space or another letter is refused, because
 * a size that is guessed wrong is data written in the wrong place.
 *
 * Invariant: a size that was parsed is an exact integer (at most 2^53 - 1), so offsets never round.
 */
import prettyBytes from 'pretty-bytes';
import { UserError } from '../errors.js';

const SIZE = /^(\d+)(?:([KMGTP])(iB|B)?)?$/;
const UNITS = 'KMGTP';
const EXAMPLES = 'sizes are written like 4096, 4K, 4KiB, 10M, 1GiB (1024s) or 4KB, 1GB (1000s)';

/**
 * Bytes that `text` stands for.
 * @throws UserError USAGE if it is not a size, or more than can be counted exactly.
 */
export function parseSize(text: string): number {
  const match = SIZE.exec(text);
  if (match === null) {
    throw new UserError('USAGE', `"${text}" is not a size`, { hint: EXAMPLES });
  }
  const [, digits = '', unit, suffix] = match;
  const base = suffix === 'B' ? 1000n : 1024n;
  const bytes = BigInt(digits) * base ** BigInt(unit === undefined ? 0 : UNITS.indexOf(unit) + 1);
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new UserError(
      'USAGE',
      `"${text}" is too large: sizes end below 8 PiB (${Number.MAX_SAFE_INTEGER} bytes)`,
    );
  }
  return Number(bytes);
}

/** `1GiB+64MiB`: an offset and a length; null: it is written otherwise. Throws as `parseSize`. */
export function parseRange(text: string): { readonly offset: number; readonly length: number } | null {
  const match = /^([^+]+)\+([^+]+)$/.exec(text);
  return match === null ? null : { offset: parseSize(match[1]!), length: parseSize(match[2]!) };
}

/** So many, in words: "1 commit", "2 commits". */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** `10 GiB (10737418240 bytes)`: rounded for reading, and exact. Below 1 KiB the bytes alone. */
export function formatSize(bytes: number): string {
  const exact = bytes === 1 ? '1 byte' : `${bytes} bytes`;
  return bytes < 1024 ? exact : `${prettyBytes(bytes, { binary: true })} (${exact})`;
}

/** `10 GiB` alone, where there is no room for more and nobody will copy the number (progress, rates). */
export function formatRoundedSize(bytes: number): string {
  return bytes < 1024 ? `${Math.round(bytes)} B` : prettyBytes(bytes, { binary: true });
}
