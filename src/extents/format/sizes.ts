/**
 * Which sizes extents and blocks may have, and how much room metadata takes.
 *
 * - A block is a power of two from 512 bytes to 1 MiB; an extent is whole blocks, whole 4 KiB, from 4 KiB to 64 MiB, and
 *   of 16,384 blocks at most: a bitmap of it is a value of the metadata engine.
 * - By default an extent is the smallest multiple of the array's full stripe of at least 1 MiB, so that a whole one is
 *   written without reading; 64 KiB on one image; and whole blocks where these are larger.
 */
import { UserError } from '../../errors.js';
import { bitmapBytes } from '../../metadata/bits.js';
import { CHANGE_OVERHEAD_BYTES } from '../../metadata/engine/contract.js';
import { BITS_PER_PAGE, PAGE_BYTES, PAGE_ROOM_BYTES, roundUp } from '../../metadata/engine/layout.js';
import { MOST_BLOCKS } from '../../metadata/server/format.js';

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_BLOCK_BYTES = 4 * KIB;
const SMALLEST_BLOCK_BYTES = 512;
const LARGEST_BLOCK_BYTES = MIB;
const EXTENT_UNIT_BYTES = 4 * KIB;
const LARGEST_EXTENT_BYTES = 64 * MIB;
const SINGLE_EXTENT_BYTES = 64 * KIB;
const STRIPED_EXTENT_BYTES = MIB;

export interface ExtentSizes {
  readonly blockBytes: number;
  readonly extentBytes: number;
}

/** Whole blocks. `stripeBytes`: data of a full stripe; null: there are none. */
export function defaultExtentBytes(stripeBytes: number | null, blockBytes: number): number {
  if (stripeBytes === null) return Math.max(SINGLE_EXTENT_BYTES, blockBytes);
  const whole = roundUp(STRIPED_EXTENT_BYTES, leastCommonMultiple(stripeBytes, blockBytes));
  // Of 64 members with chunks of 4 MiB no extent is as long as a stripe.
  return whole <= LARGEST_EXTENT_BYTES ? whole : STRIPED_EXTENT_BYTES;
}

export function leastCommonMultiple(a: number, b: number): number {
  return (a / greatestCommonDivisor(a, b)) * b;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

export interface FaultOfSizes {
  readonly why: string;
  readonly hint: string;
}

/** Why they cannot be; null: they can. */
export function faultOfSizes({ blockBytes, extentBytes }: ExtentSizes): FaultOfSizes | null {
  const hint = 'see --extent and --block';
  const isPower = Number.isInteger(Math.log2(blockBytes));
  if (!isPower || blockBytes < SMALLEST_BLOCK_BYTES || blockBytes > LARGEST_BLOCK_BYTES)
    return {
      why: `a block of ${blockBytes} bytes cannot be: it is a power of two from 512 bytes to 1 MiB`,
      hint,
    };
  const extent = `an extent of ${extentBytes} bytes cannot be`;
  if (extentBytes < EXTENT_UNIT_BYTES || extentBytes > LARGEST_EXTENT_BYTES)
    return { why: `${extent}: it has 4 KiB to 64 MiB`, hint };
  if (extentBytes % EXTENT_UNIT_BYTES !== 0) return { why: `${extent}: it is a multiple of 4 KiB`, hint };
  if (extentBytes % blockBytes !== 0)
    return { why: `${extent}: it is no multiple of its blocks of ${blockBytes} bytes`, hint };
  const blocks = extentBytes / blockBytes;
  if (blocks <= MOST_BLOCKS) return null;
  return {
    why: `an extent of ${blocks} blocks cannot be: it has ${MOST_BLOCKS} at most`,
    hint: 'larger blocks (--block), or smaller extents (--extent)',
  };
}

/** Throws USAGE for sizes that cannot be, with what can. */
export function checkSizes(sizes: ExtentSizes): void {
  const wrong = faultOfSizes(sizes);
  if (wrong === null) return;
  const { blockBytes, extentBytes } = sizes;
  throw new UserError('USAGE', wrong.why, { hint: wrong.hint, details: { blockBytes, extentBytes } });
}

/** A log of which a quarter is longer than anything that the metadata server commits at once (server/turn.ts). */
const SMALLEST_LOG_BYTES = 66 * PAGE_BYTES;
const LARGEST_LOG_BYTES = 4 * MIB;
/** The log has so much of the pool, between these two. */
const LOG_SHARE = 128;
/** Pages beside those for entries: what the engine keeps free, and a little for files and names. */
const LEAST_PAGES = 128;
/** Pages are half full at the worst, and what is being changed needs as many again for a while. */
const PAGE_FACTOR = 3;
/** Bytes of the keys and values of a data extent, and of a hardened journal extent, without their bitmaps. */
const MAP_ENTRY_BYTES = CHANGE_OVERHEAD_BYTES + 17 + 16;
const JOURNAL_ENTRIES_BYTES =
  7 * CHANGE_OVERHEAD_BYTES + (9 + 48) + (17 + 8) + (25 + 8) + 2 * 17 + (17 + 24) + (25 + 8);
/** So many journal extents there is room for beside all maps, or for half of the pool. */
const MOST_JOURNAL_EXTENTS = 16_384;

export interface MetadataSize {
  /** Of both halves. */
  readonly rangeBytes: number;
  readonly logBytes: number;
}

/**
 * Room for the maps of so many extents, all of them mapped and none used whole, for a journal, and for the log.
 * docs/on-disk-format.md has the formula.
 */
export function metadataSize(extents: number, { blockBytes, extentBytes }: ExtentSizes): MetadataSize {
  const bitmap = bitmapBytes(extentBytes / blockBytes);
  const journal = Math.min(Math.ceil(extents / 2), MOST_JOURNAL_EXTENTS);
  const bytes = extents * (MAP_ENTRY_BYTES + bitmap) + journal * (JOURNAL_ENTRIES_BYTES + 2 * bitmap);
  const pages = LEAST_PAGES + Math.ceil((PAGE_FACTOR * bytes) / PAGE_ROOM_BYTES);
  const share = roundUp((extents * extentBytes) / LOG_SHARE, PAGE_BYTES);
  const logBytes = Math.min(LARGEST_LOG_BYTES, Math.max(SMALLEST_LOG_BYTES, share));
  // Header and roots, and two allocation maps with a bit a page.
  const maps = 2 * Math.ceil((pages + 1) / BITS_PER_PAGE);
  return { rangeBytes: 2 * (PAGE_BYTES * (1 + maps + pages) + logBytes), logBytes };
}
