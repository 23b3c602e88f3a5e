/** A range of the device, cut at the borders of the cache's blocks. */
import type { BlockSpan } from './beside.js';
import { CACHE_BLOCK_BYTES } from './cache-block.js';

export interface Piece {
  /** Of the block. */
  readonly index: number;
  /** Within the block, in bytes. */
  readonly start: number;
  readonly end: number;
  /** Within the range. */
  readonly at: number;
}

export function cutIntoPieces(offset: number, length: number): Piece[] {
  const pieces: Piece[] = [];
  for (let at = 0; at < length; ) {
    const index = Math.floor((offset + at) / CACHE_BLOCK_BYTES);
    const start = offset + at - index * CACHE_BLOCK_BYTES;
    const end = Math.min(CACHE_BLOCK_BYTES, start + length - at);
    pieces.push({ index, start, end, at });
    at += end - start;
  }
  return pieces;
}

/** The pieces of the range that are not of these blocks. */
export function piecesOutside(span: BlockSpan | null, offset: number, length: number): readonly Piece[] {
  const pieces = cutIntoPieces(offset, length);
  return span === null ? pieces : pieces.filter(({ index }) => index < span.first || index >= span.end);
}

/** The whole blocks [first, end) inside a range; the block at the end of the device counts as whole. */
export function wholeBlocks(offset: number, length: number, size: number): { first: number; end: number } {
  const first = Math.ceil(offset / CACHE_BLOCK_BYTES);
  const stop = offset + length;
  const end = stop === size ? Math.ceil(stop / CACHE_BLOCK_BYTES) : Math.floor(stop / CACHE_BLOCK_BYTES);
  return { first, end: Math.max(first, end) };
}
