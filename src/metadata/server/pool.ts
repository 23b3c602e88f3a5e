/**
 * The pool's free extents: a bitmap for each group of 8192 of them (a bit is set where the extent is taken; a group
 * that has none has no key). Data and journal extents come from it alike. The search goes on where the last extent
 * was taken, so what is allocated together lies together, and what was just freed is not taken again at once.
 *
 * Reserves are promises over the free ones: whoever has none leaves as many as are promised to others.
 */
import { bitmapBytes, clearBit, hasBit, setBit } from '../bits.js';
import { key } from './keys.js';
import { poolFull } from './refusals.js';
import { damaged, type State } from './state.js';

export const GROUP_EXTENTS = 8192;

export interface Span {
  readonly from: number;
  readonly count: number;
}

/** Groups that were seen full: a cache. It may forget, and must when a draft in which it learned was dropped. */
export type FullGroups = Set<number>;

export interface Wanted {
  readonly count: number;
  /** Extents that must not be taken: those of a target that has failed. */
  readonly avoid: readonly Span[];
  /** How many of the reserve the caller may use. */
  readonly ownReserve: number;
}

/** Throws NO_SPACE, and nothing is taken. */
export async function allocate(state: State, wanted: Wanted, full: FullGroups): Promise<number[]> {
  const { count, avoid, ownReserve } = wanted;
  const { freeExtents, reservedExtents, cursor } = await state.counters();
  const promised = reservedExtents - ownReserve;
  if (freeExtents - promised < count) throw poolFull(count, freeExtents, promised);
  const taken = await search(state, cursor, { count, avoid }, full);
  if (taken.length < count) throw poolFull(count, taken.length, promised);
  await state.count({ freeExtents: freeExtents - count, cursor: (taken.at(-1)! + 1) % state.config.extents });
  return taken;
}

async function search(
  state: State,
  cursor: number,
  { count, avoid }: Pick<Wanted, 'count' | 'avoid'>,
  full: FullGroups,
): Promise<number[]> {
  const groups = Math.ceil(state.config.extents / GROUP_EXTENTS);
  const first = Math.floor(cursor / GROUP_EXTENTS);
  const taken: number[] = [];
  // The first group is seen twice: from the cursor on, and at the end from its start.
  for (let step = 0; step <= groups && taken.length < count; step++) {
    const group = (first + step) % groups;
    if (full.has(group)) continue;
    const start = group * GROUP_EXTENTS;
    const end = Math.min(start + GROUP_EXTENTS, state.config.extents);
    const bits = await groupBits(state, group);
    const before = taken.length;
    let sawFree = false;
    for (let extent = step === 0 ? cursor : start; extent < end && taken.length < count; extent++) {
      if ((extent & 7) === 0 && bits[(extent - start) >> 3] === 0xff) {
        extent += 7;
        continue;
      }
      if (hasBit(bits, extent - start)) continue;
      sawFree = true;
      if (avoid.some((span) => extent >= span.from && extent < span.from + span.count)) continue;
      setBit(bits, extent - start);
      taken.push(extent);
    }
    if (taken.length > before) state.draft.put(key('G', group), bits);
    else if (!sawFree && (step > 0 || cursor === start)) full.add(group);
  }
  return taken;
}

/** Gives extents back. What is free already is damage: never freed twice. */
export async function free(state: State, extents: readonly number[], full: FullGroups): Promise<void> {
  if (extents.length === 0) return;
  const groups = new Map<number, Uint8Array>();
  for (const extent of extents) {
    const group = Math.floor(extent / GROUP_EXTENTS);
    const bits = groups.get(group) ?? (await groupBits(state, group));
    groups.set(group, bits);
    const at = extent - group * GROUP_EXTENTS;
    if (extent >= state.config.extents || !hasBit(bits, at)) {
      throw damaged(`extent ${extent} is to be freed, and is free`);
    }
    clearBit(bits, at);
  }
  for (const [group, bits] of groups) {
    full.delete(group);
    if (bits.every((byte) => byte === 0)) state.draft.delete(key('G', group));
    else state.draft.put(key('G', group), bits);
  }
  const { freeExtents } = await state.counters();
  await state.count({ freeExtents: freeExtents + extents.length });
}

/** A copy, free to be changed. */
async function groupBits(state: State, group: number): Promise<Uint8Array> {
  const bits = await state.draft.get(key('G', group));
  return bits === null ? new Uint8Array(bitmapBytes(GROUP_EXTENTS)) : bits.slice();
}
