/**
 * What maps say of one another and of the files that have them, counted again: from the inodes, and from the parent that
 * each map names. Entries stay as they are, and so does a map that nothing holds, or one that is named and not there:
 * what they held may be all that is left of something.
 */

import { key, numberOf } from './keys.js';
import type { RebuildWork } from './rebuild-work.js';
import { decode, encode, type RecordOf } from './records.js';

interface Holders {
  readonly record: RecordOf<'map'>;
  files: number;
  children: number;
}

export async function rebuildMaps(work: RebuildWork): Promise<void> {
  const maps = await readMaps(work);
  const { state } = work;
  for await (const { key: at } of work.under('P')) {
    if (maps.get(numberOf(at, 1))?.record.parent !== numberOf(at, 0)) state.draft.delete(at);
    await work.commitPart();
  }
  for (const [map, holders] of maps) {
    await rebuildMap(work, map, holders);
    await work.commitPart();
  }
  await work.commitPart(true);
}

async function readMaps(work: RebuildWork): Promise<Map<number, Holders>> {
  const maps = new Map<number, Holders>();
  for await (const { key: at, value } of work.under('M'))
    maps.set(numberOf(at, 0), { record: decode('map', value), files: 0, children: 0 });
  for (const { record } of maps.values()) {
    const above = maps.get(record.parent);
    if (above !== undefined) above.children += 1;
  }
  for await (const { value } of work.under('I')) {
    const held = maps.get(decode('inode', value).map);
    if (held !== undefined) held.files += 1;
  }
  return maps;
}

async function rebuildMap(
  work: RebuildWork,
  map: number,
  { record, files, children }: Holders,
): Promise<void> {
  const { state } = work;
  const { parent } = record;
  if (record.files !== files || record.children !== children)
    state.draft.put(key('M', map), encode('map', { parent, files, children }));
  if (parent !== 0 && (await state.numberAt(key('P', parent, map))) === null)
    state.putNumber(key('P', parent, map), 0);
  // One that is held must not be emptied any further.
  if (files + children > 0 && (await state.numberAt(key('R', map))) !== null)
    state.draft.delete(key('R', map));
  if (files === 0 && children === 1 && (await state.numberAt(key('X', map))) === null)
    state.putNumber(key('X', map), 0);
}
