/**
 * What one round of writing a map file is made of: pages with the bits that the map has now, the pages of the auxiliary map
 * that change with them, and what may become a hole when the round is durable.
 */
import { SECTOR_BYTES } from '../file-header.js';
import type { BlockMap } from './block-map.js';
import { encodePage, type MapLayout, PAGES_PER_HOLE } from './page.js';
import { FULL_PAGE, PAGE_BITS } from './words.js';

export interface RoundWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface RoundContent {
  readonly writes: readonly RoundWrite[];
  /** Of each page of the round the bits that are written; undefined: none, it is not named any more. */
  readonly snapshot: ReadonlyMap<number, Uint32Array | undefined>;
}

/** One write is no longer than this many pages. */
const WRITE_PAGES = 2048;

export interface RoundState {
  readonly layout: MapLayout;
  readonly id: bigint;
  readonly generation: number;
  readonly map: BlockMap;
  /** As the auxiliary map will be: this is changed. */
  readonly named: BlockMap;
  /** Pages of the auxiliary map to be written in any case. */
  readonly auxiliary: Iterable<number>;
}

export function roundOf(pages: Iterable<number>, state: RoundState): RoundContent {
  const { layout, id, generation, map, named } = state;
  const snapshot = new Map<number, Uint32Array | undefined>();
  const auxiliary = new Set(state.auxiliary);
  for (const page of ascending(pages)) {
    const words = copyOf(map.page(page));
    snapshot.set(page, words);
    if (named.has(page) === (words !== undefined)) continue;
    if (words === undefined) named.clear({ from: page, count: 1 });
    else named.set({ from: page, count: 1 });
    auxiliary.add(Math.floor(page / PAGE_BITS));
  }
  const encoded = (kind: 'blocks' | 'pages', number: number, words: Uint32Array | undefined) => ({
    offset: layout.offsetOf(kind, number),
    bytes: encodePage(id, { kind, number, generation, words }),
  });
  const pieces = ascending(auxiliary).map((number) => encoded('pages', number, named.page(number)));
  for (const [number, words] of snapshot)
    if (words !== undefined) pieces.push(encoded('blocks', number, words));
  return { writes: joined(pieces), snapshot };
}

/** Holes, whole ones, that pages which have no bit any more leave: none of their neighbours there is named. */
export function holesOf(
  { snapshot }: RoundContent,
  layout: MapLayout,
  named: BlockMap,
): { offset: number; length: number }[] {
  const holes: { offset: number; length: number }[] = [];
  for (const [page, words] of snapshot) {
    if (words !== undefined) continue;
    const first = page - (page % PAGES_PER_HOLE);
    const run = named.next(first);
    if (run !== null && run.from < first + PAGES_PER_HOLE) continue;
    const offset = layout.offsetOf('blocks', first);
    const length = PAGES_PER_HOLE * SECTOR_BYTES;
    const last = holes.at(-1);
    if (last === undefined || last.offset + last.length < offset) holes.push({ offset, length });
    else last.length = offset + length - last.offset;
  }
  return holes;
}

/** What lies side by side in one write. */
function joined(pieces: readonly RoundWrite[]): RoundWrite[] {
  const groups: RoundWrite[][] = [];
  for (const piece of pieces) {
    const group = groups.at(-1);
    const last = group?.at(-1);
    const isNext = last !== undefined && last.offset + last.bytes.byteLength === piece.offset;
    if (isNext && group!.length < WRITE_PAGES) group!.push(piece);
    else groups.push([piece]);
  }
  return groups.map((group) => ({
    offset: group[0]!.offset,
    bytes: Buffer.concat(group.map(({ bytes }) => bytes)),
  }));
}

/** As it is now; the shared one never changes. */
function copyOf(words: Uint32Array | undefined): Uint32Array | undefined {
  return words === FULL_PAGE ? words : words?.slice();
}

function ascending(numbers: Iterable<number>): number[] {
  return [...numbers].sort((a, b) => a - b);
}
