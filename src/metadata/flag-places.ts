/**
 * Where the flags of what is written and not committed may be kept (data journaling, paragraphs 29 and 31): at the
 * metadata server, in a file on the client's machine, or on the storage that has the data.
 *
 * Wherever they are, the server keeps one number of a file with something kept (Harden_Extent_Flags that does not start a
 * commit), and it is this number that says that they are whole. With the flags at the server it is the size that the file
 * gets. Elsewhere it names the record that has flags and size, by chance: so a record of any earlier keeping is told from
 * the one that counts. Which of these it is, the number says by itself.
 */
import { randomBytes } from 'node:crypto';
import { isEmpty } from './bits.js';

export const FLAG_PLACES = ['metadata', 'local', 'data'] as const;
export type FlagPlace = (typeof FLAG_PLACES)[number];

/** From here on a kept number is no size. */
const NAMES_FROM = 2 ** 52;
const NAMES_OF_DATA_FROM = NAMES_FROM + 2 ** 51;

/** A file of this many bytes or more cannot be kept at the server: 4 PiB. */
export const LEAST_UNKEPT_BYTES = NAMES_FROM;

/** Another one each time. */
export function newKeptName(place: Exclude<FlagPlace, 'metadata'>): number {
  const chance = Number(randomBytes(8).readBigUInt64LE() & (2n ** 51n - 1n));
  return (place === 'local' ? NAMES_FROM : NAMES_OF_DATA_FROM) + chance;
}

export function placeOfKept(number: number): FlagPlace {
  if (number < NAMES_FROM) return 'metadata';
  return number < NAMES_OF_DATA_FROM ? 'local' : 'data';
}

/**
 * Flags that say nothing mark a journal extent which holds flags itself (place `data`): what was written always marks or
 * clears something.
 */
export function saysNothing(flags: { readonly marked: Uint8Array; readonly cleared: Uint8Array }): boolean {
  return isEmpty(flags.marked) && isEmpty(flags.cleared);
}
