/**
 * What takes many steps and is no message: a map that nobody has any more is emptied; a frozen map that only one
 * other map needs is merged into that; a removed file's associations are dropped; what a client that is gone had is
 * freed. Each has a key as long as it is under way, each step is one engine commit, and after a crash it goes on. At
 * every step look-ups find what they found before, and no extent is free that a map or a journal has.
 */

import { freeClientStep } from './ended-client.js';
import { disassociate } from './journal.js';
import { key, numberOf, under } from './keys.js';
import { decodeEntry, dropEntry, findEntry, ownEntry, putEntry } from './maps.js';
import { free } from './pool.js';
import { decode } from './records.js';
import type { State } from './state.js';
import type { Turn } from './turn.js';

/** Entries that a step goes through: its commit is far below what an engine takes. */
export const STEP_ENTRIES = 128;

/** A file or a map needs this map no more. */
export async function leaveMap(state: State, map: number, holder: 'files' | 'children'): Promise<void> {
  const record = await state.changeMap(map, (before) => ({ [holder]: before[holder] - 1 }));
  if (record.files > 0) return;
  if (record.children === 0) {
    state.draft.delete(key('X', map));
    state.putNumber(key('R', map), 0);
  } else if (record.children === 1) {
    state.putNumber(key('X', map), 0);
  }
}

/** One step of the first that is under way; false where nothing is. */
export async function step(turn: Turn): Promise<boolean> {
  const kinds = [
    ['D', dropAssociations],
    ['W', freeClientStep],
    ['R', emptyMap],
    ['X', mergeMap],
  ] as const;
  for (const [prefix, run] of kinds) {
    const { from, to } = under(key(prefix));
    for await (const entry of turn.state.draft.entries(from, to)) {
      await run(turn, numberOf(entry.key, 0), decode('number', entry.value).value);
      return true;
    }
  }
  return false;
}

/** Journal extents of whoever is about to write the file: they are the client's still, and associated with nothing. */
async function dropAssociations({ state }: Turn, file: number): Promise<void> {
  const journals: number[] = [];
  for await (const { value } of state.draft.under(under(key('A', file)))) {
    if (journals.push(decode('number', value).value) === STEP_ENTRIES) break;
  }
  for (const journal of journals) await disassociate(state, journal, (await state.journal(journal))!);
  if (journals.length < STEP_ENTRIES) {
    for (const { client } of await state.locksOf(file)) state.setLock(file, client, null);
    state.draft.delete(key('D', file));
  }
}

async function emptyMap({ state, full }: Turn, map: number): Promise<void> {
  const entries = await firstEntries(state, map);
  const freed: number[] = [];
  for (const { index, entry } of entries) {
    dropEntry(state, map, index);
    if (entry.extent !== null) freed.push(entry.extent);
  }
  await free(state, freed, full);
  if (entries.length === STEP_ENTRIES) return;
  const { parent } = await state.map(map);
  state.draft.delete(key('R', map));
  state.draft.delete(key('M', map));
  if (parent === 0) return;
  state.draft.delete(key('P', parent, map));
  await leaveMap(state, parent, 'children');
}

/**
 * Moves what the map has into its only child, but for what the child has itself. An entry that has moved is shared
 * still, once: whoever completes a commit there just now has decided so.
 */
async function mergeMap({ state, full }: Turn, map: number): Promise<void> {
  const { files, children, parent } = await state.map(map);
  if (files > 0 || children !== 1) {
    state.draft.delete(key('X', map));
    return;
  }
  const child = await onlyChild(state, map);
  const entries = await firstEntries(state, map);
  const freed: number[] = [];
  for (const { index, entry } of entries) {
    const upper = await ownEntry(state, child, index);
    dropEntry(state, map, index);
    if (upper === null) {
      if (entry.extent !== null) putEntry(state, child, index, { ...entry, isShared: true });
      else if (await isCovering(state, parent, index)) putEntry(state, child, index, entry);
    } else {
      if (entry.extent !== null) freed.push(entry.extent);
      if (upper.extent === null && !(await isCovering(state, parent, index))) dropEntry(state, child, index);
    }
  }
  await free(state, freed, full);
  if (entries.length < STEP_ENTRIES) await closeGap(state, map, child, parent);
}

/** A hole there is needed: further up is something that must not be seen. */
async function isCovering(state: State, parent: number, index: number): Promise<boolean> {
  const found = parent === 0 ? null : await findEntry(state, parent, index);
  return found !== null && found.entry.extent !== null;
}

/** The child hangs where the map hung. */
async function closeGap(state: State, map: number, child: number, parent: number): Promise<void> {
  for (const at of [key('X', map), key('M', map), key('P', map, child)]) state.draft.delete(at);
  await state.changeMap(child, () => ({ parent }));
  if (parent === 0) return;
  state.draft.delete(key('P', parent, map));
  state.putNumber(key('P', parent, child), 0);
}

async function onlyChild(state: State, map: number): Promise<number> {
  let child = 0;
  for await (const entry of state.draft.under(under(key('P', map)))) child = numberOf(entry.key, 1);
  return child;
}

async function firstEntries(state: State, map: number) {
  const entries: { index: number; entry: ReturnType<typeof decodeEntry> }[] = [];
  for await (const { key: at, value } of state.draft.under(under(key('E', map)))) {
    entries.push({ index: numberOf(at, 1), entry: decodeEntry(value, state.config.blocksPerExtent) });
    if (entries.length === STEP_ENTRIES) break;
  }
  return entries;
}
