/**
 * Where everything lies in a half of an engine's range. Both halves are alike:
 *
 *     page 0             2 allocation maps    the log        the pages of the tree
 *     header, 2 roots    written in turn      circular
 *
 * Offsets here are bytes of a half.
 */
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { METADATA_PAGE } from './fields.js';

export const PAGE_BYTES = 16 * 1024;
/** Header, roots and log records are written in whole blocks of this many bytes. */
export const BLOCK_BYTES = 4096;
export const ROOT_SLOTS = 2;
const PAGE_HEADER_BYTES = METADATA_PAGE.sizeBytes;
/** Bytes of a page for entries, children or bits. */
export const PAGE_ROOM_BYTES = PAGE_BYTES - PAGE_HEADER_BYTES;
/** Pages that one page of an allocation map speaks of. */
export const BITS_PER_PAGE = PAGE_ROOM_BYTES * 8;

const SMALLEST_LOG_BYTES = 64 * 1024;
const LARGEST_LOG_BYTES = 1024 * 1024 * 1024;
const DEFAULT_LOG_BYTES = 16 * 1024 * 1024;
/** The log has so much of a half, up to its default. */
const LOG_SHARE = 16;
export const FEWEST_PAGES = 64;
/** Numbers of pages are of 32 bits, and one stands for none. */
const MOST_PAGES = 2 ** 32 - 1;

/** Where the engine lies: bytes of the device, whole blocks of 4096. */
export interface EngineRange {
  readonly device: BlockDevice;
  readonly offset: number;
  readonly length: number;
}

export interface Layout {
  readonly halfBytes: number;
  readonly allocationPages: number;
  readonly logOffset: number;
  readonly logBytes: number;
  readonly pagesOffset: number;
  readonly pages: number;
}

export function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}

export function rootOffset(generation: number): number {
  return BLOCK_BYTES * (1 + (generation % ROOT_SLOTS));
}

/** Of the allocation map of this generation. */
export function allocationOffset({ allocationPages }: Layout, generation: number): number {
  return PAGE_BYTES * (1 + (generation % ROOT_SLOTS) * allocationPages);
}

export function pageOffset({ pagesOffset }: Layout, page: number): number {
  return pagesOffset + page * PAGE_BYTES;
}

/** Bytes of a half, as far as the length of the range tells. */
export function halfBytesOf(range: EngineRange): number {
  return Math.floor(range.length / 2 / PAGE_BYTES) * PAGE_BYTES;
}

/** What a new engine is to look like. Throws NO_SPACE where the range is too small. */
export function planLayout(range: EngineRange, wantedLogBytes?: number): Layout {
  const halfBytes = halfBytesOf(range);
  const share = roundUp(halfBytes / LOG_SHARE, PAGE_BYTES);
  const logBytes = wantedLogBytes ?? Math.max(SMALLEST_LOG_BYTES, Math.min(share, DEFAULT_LOG_BYTES));
  const left = Math.floor((halfBytes - PAGE_BYTES - logBytes) / PAGE_BYTES);
  const allocationPages = Math.max(1, Math.ceil(left / BITS_PER_PAGE));
  const layout: Layout = {
    halfBytes,
    allocationPages,
    logOffset: PAGE_BYTES * (1 + ROOT_SLOTS * allocationPages),
    logBytes,
    pagesOffset: PAGE_BYTES * (1 + ROOT_SLOTS * allocationPages) + logBytes,
    pages: left - ROOT_SLOTS * allocationPages,
  };
  const wrong = faultOf(layout);
  if (wrong === null) return layout;
  const leastBytes =
    2 * (PAGE_BYTES * (1 + ROOT_SLOTS + FEWEST_PAGES) + Math.max(logBytes, SMALLEST_LOG_BYTES));
  throw new UserError(
    'NO_SPACE',
    `${range.device.name}: no room for metadata in ${range.length} bytes at offset ${range.offset}: ${wrong}`,
    {
      hint: `Metadata takes ${leastBytes} bytes or more.`,
      details: { image: range.device.name, offsetBytes: range.offset, lengthBytes: range.length },
    },
  );
}

/** Why it cannot be; null: it can. */
export function faultOf(layout: Layout): string | null {
  const { halfBytes, allocationPages, logOffset, logBytes, pagesOffset, pages } = layout;
  if (Object.values(layout).some((value) => !Number.isSafeInteger(value) || value < 0))
    return 'a size is out of all bounds';
  if (pages < FEWEST_PAGES || pages > MOST_PAGES) return `it would have ${pages} pages`;
  if (logBytes < SMALLEST_LOG_BYTES || logBytes > LARGEST_LOG_BYTES || logBytes % PAGE_BYTES !== 0)
    return `its log would have ${logBytes} bytes`;
  if (allocationPages * BITS_PER_PAGE < pages) return 'its allocation maps are too short';
  if (logOffset < PAGE_BYTES * (1 + ROOT_SLOTS * allocationPages))
    return 'its log lies over its allocation maps';
  if (pagesOffset < logOffset + logBytes) return 'its pages lie over its log';
  if (pagesOffset % PAGE_BYTES !== 0 || logOffset % PAGE_BYTES !== 0) return 'its parts begin amid a page';
  if (pagesOffset + pages * PAGE_BYTES > halfBytes) return 'its pages do not fit';
  return null;
}
