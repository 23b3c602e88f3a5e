/** The allocation map on disk: the bits of all pages, in as many pages of their own as they take. */
import { bitmapBytes } from '../bits.js';
import { PageMap } from './free-pages.js';
import type { Checked, Place } from './halves.js';
import { allocationOffset, type Layout, PAGE_BYTES, PAGE_ROOM_BYTES } from './layout.js';
import { decodeAllocation } from './page.js';
import type { Root } from './root.js';

export function allocationPieces(bits: Uint8Array, { allocationPages }: Layout): Uint8Array[] {
  return Array.from({ length: allocationPages }, (_, piece) =>
    bits.subarray(piece * PAGE_ROOM_BYTES, (piece + 1) * PAGE_ROOM_BYTES),
  );
}

export function allocationPlace(layout: Layout, generation: number, piece: number): Place {
  return {
    what: "a map of the metadata's free pages",
    code: 'ALLOCATION_COPY_DAMAGED',
    offset: allocationOffset(layout, generation) + piece * PAGE_BYTES,
    length: PAGE_BYTES,
  };
}

/** A part of the map that the root has. */
export function checkAllocation(
  bytes: Uint8Array,
  uuid: Uint8Array,
  { generation }: Root,
  piece: number,
): Checked<Uint8Array> {
  return decodeAllocation(bytes, { uuid, number: piece, generation });
}

/** null: bits are set of pages that are none, or not as many as the root says. */
export function pageMapOf(pieces: readonly Uint8Array[], layout: Layout, root: Root): PageMap | null {
  const all = Buffer.concat(pieces);
  const bits = new Uint8Array(all.subarray(0, bitmapBytes(layout.pages)));
  const map = new PageMap(layout.pages, bits);
  for (let page = layout.pages; page < bits.byteLength * 8; page++) if (map.has(page)) return null;
  if (all.subarray(bits.byteLength).some((byte) => byte !== 0)) return null;
  return map.count === root.pagesUsed ? map : null;
}
