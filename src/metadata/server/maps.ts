/**
 * Maps from an index of a file to the extent that has its data, and which of its blocks are used.
 *
 * A snapshot freezes a map: the file gets a new, empty one whose parent it is, and what a map does not have is looked
 * up in its parent. So an extent is in one map only, and *shared* is what was found further up (or was merged from
 * there: see removal.ts).
 */
import { allBits, isFull, noBits } from '../bits.js';
import { key } from './keys.js';
import { decode, encode, tailOf } from './records.js';
import { damaged, type State } from './state.js';

export interface MapEntry {
  /** null: a hole over what the parent has. */
  readonly extent: number | null;
  readonly used: Uint8Array;
  /** It was another map's, and is taken for shared until it has been swapped. */
  readonly isShared: boolean;
}

/** What a file has at an index. */
export interface Place {
  /** The data extent, or null. */
  readonly data: number | null;
  readonly used: Uint8Array;
  /** Never written home. */
  readonly isShared: boolean;
  /** The data extent is in the file's own map: it goes when it is replaced. */
  readonly isOwn: boolean;
}

/** Chains are as long as a file has snapshots; a longer one is a circle. */
const MOST_PARENTS = 1_000_000;

/** The entry of this very map. */
export async function ownEntry(state: State, map: number, index: number): Promise<MapEntry | null> {
  const value = await state.draft.get(key('E', map, index));
  return value === null ? null : decodeEntry(value, state.config.blocksPerExtent);
}

export function decodeEntry(value: Uint8Array, blocks: number): MapEntry {
  const { extent, isShared } = decode('entry', value);
  if (extent === 0) return { extent: null, used: noBits(blocks), isShared: false };
  const tail = tailOf('entry', value);
  // Most extents are used whole: such an entry has no bitmap.
  const used = tail.byteLength === 0 ? allBits(blocks) : tail.slice();
  return { extent: extent - 1, used, isShared: isShared === 1 };
}

export function putEntry(state: State, map: number, index: number, entry: MapEntry): void {
  const extent = entry.extent === null ? 0 : entry.extent + 1;
  const isWhole = extent === 0 || isFull(entry.used, state.config.blocksPerExtent);
  const record = { extent, isShared: entry.isShared ? 1 : 0 };
  state.draft.put(key('E', map, index), encode('entry', record, isWhole ? undefined : entry.used));
}

export function dropEntry(state: State, map: number, index: number): void {
  state.draft.delete(key('E', map, index));
}

/** From this map up: the first that has an entry there. */
export async function findEntry(
  state: State,
  map: number,
  index: number,
): Promise<{ map: number; entry: MapEntry } | null> {
  for (let at = map, steps = 0; at !== 0; steps++) {
    if (steps > MOST_PARENTS) throw damaged(`map ${map} has itself above it`);
    const entry = await ownEntry(state, at, index);
    if (entry !== null) return { map: at, entry };
    at = (await state.map(at)).parent;
  }
  return null;
}

export async function placeOf(state: State, map: number, index: number): Promise<Place> {
  const found = await findEntry(state, map, index);
  if (found === null || found.entry.extent === null) {
    return { data: null, used: noBits(state.config.blocksPerExtent), isShared: false, isOwn: false };
  }
  const { extent, used, isShared } = found.entry;
  const isOwn = found.map === map;
  return { data: extent, used, isShared: isShared || !isOwn, isOwn };
}

/** Nothing is at this index any more: no entry, or a hole over what a parent has. */
export async function putHole(state: State, map: number, index: number): Promise<void> {
  const { parent } = await state.map(map);
  const below = parent === 0 ? null : await findEntry(state, parent, index);
  if (below === null || below.entry.extent === null) dropEntry(state, map, index);
  else
    putEntry(state, map, index, {
      extent: null,
      used: noBits(state.config.blocksPerExtent),
      isShared: false,
    });
}

export async function newMap(state: State, parent: number): Promise<number> {
  const map = await state.nextNumber('nextMap');
  state.draft.put(key('M', map), encode('map', { parent, files: 1, children: 0 }));
  if (parent !== 0) {
    state.putNumber(key('P', parent, map), 0);
    await state.changeMap(parent, ({ children }) => ({ children: children + 1 }));
  }
  return map;
}
