/** The part of the check that goes through files, names and maps. */
import type { CheckContext } from './check-context.js';
import { key, nameKey, numberOf, under } from './keys.js';
import { decodeEntry } from './maps.js';
import { decode, type RecordOf } from './records.js';

interface SeenMap extends RecordOf<'map'> {
  /** As they were found. */
  seenFiles: number;
  seenChildren: number;
}

/** Every map is held by what it says, and every extent of every map is used by that alone. */
export async function checkMaps(context: CheckContext): Promise<void> {
  const maps = await readMaps(context);
  const { state } = context;
  for await (const entry of state.draft.under(under(key('P')))) {
    const parent = numberOf(entry.key, 0);
    const child = maps.get(numberOf(entry.key, 1));
    if (child?.parent !== parent)
      context.find('MAP_WRONG', `map ${parent} has a child that is not its own`, { map: parent });
  }
  for (const [map, record] of maps) await checkMap(context, map, record, maps);
  let last = -1;
  for await (const entry of state.draft.under(under(key('E')))) {
    const map = numberOf(entry.key, 0);
    const index = numberOf(entry.key, 1);
    if (map !== last && !maps.has(map))
      context.find('MAP_WRONG', `map ${map} has entries, and is not there`, { map });
    last = map;
    const { extent } = decodeEntry(entry.value, context.config.blocksPerExtent);
    if (extent !== null) context.use(extent, `extent ${index} of map ${map}`);
  }
}

async function readMaps({ state }: CheckContext): Promise<Map<number, SeenMap>> {
  const maps = new Map<number, SeenMap>();
  for await (const entry of state.draft.under(under(key('M')))) {
    maps.set(numberOf(entry.key, 0), { ...decode('map', entry.value), seenFiles: 0, seenChildren: 0 });
  }
  for (const { parent } of maps.values()) {
    const above = maps.get(parent);
    if (above !== undefined) above.seenChildren += 1;
  }
  for await (const entry of state.draft.under(under(key('I')))) {
    const held = maps.get(decode('inode', entry.value).map);
    if (held !== undefined) held.seenFiles += 1;
  }
  return maps;
}

async function checkMap(
  context: CheckContext,
  map: number,
  record: SeenMap,
  maps: ReadonlyMap<number, SeenMap>,
): Promise<void> {
  const { state } = context;
  const { parent, files, children, seenFiles, seenChildren } = record;
  const wrong = (what: string) => context.find('MAP_WRONG', `map ${map} ${what}`, { map });
  if (files !== seenFiles) wrong(`is held by ${seenFiles} files, not ${files}`);
  if (children !== seenChildren) wrong(`has ${seenChildren} children, not ${children}`);
  if (parent !== 0 && !maps.has(parent)) wrong(`has map ${parent} as its parent, which is not there`);
  if (parent !== 0 && (await state.numberAt(key('P', parent, map))) === null)
    wrong('is not among its parent’s children');
  const isRemoved = (await state.numberAt(key('R', map))) !== null;
  const isMerged = (await state.numberAt(key('X', map))) !== null;
  if (seenFiles + seenChildren === 0 && !isRemoved) wrong('is held by nothing');
  if (seenFiles === 0 && seenChildren === 1 && !isMerged)
    wrong('has one child alone, and is not being merged');
  if (isRemoved && seenFiles + seenChildren > 0) wrong('is being emptied, and is held');
}

/** Every name leads to its file and back; reserves add up. */
export async function checkFiles(context: CheckContext): Promise<void> {
  const { state } = context;
  let reserved = 0;
  for await (const entry of state.draft.under(under(key('I')))) {
    const file = numberOf(entry.key, 0);
    const inode = (await state.inode(file))!;
    reserved += inode.reservedExtents;
    if ((await state.numberAt(nameKey('N', inode.name))) !== file) {
      context.find('NAME_WRONG', `file ${file} is not found by its name ${inode.name}`, { file });
    }
    if ((await state.draft.get(key('M', inode.map))) === null) {
      context.find('MAP_WRONG', `file ${file} has map ${inode.map}, which is not there`, {
        file,
        map: inode.map,
      });
    }
  }
  for await (const file of state.namesAfter(null)) {
    if ((await state.inode(file)) === null) {
      context.find('NAME_WRONG', `a name leads to file ${file}, which is not there`, { file });
    }
  }
  const { reservedExtents, freeExtents } = await state.counters();
  if (reserved !== reservedExtents) {
    context.find('EXTENT_COUNT_WRONG', `${reserved} extents are reserved, not ${reservedExtents}`, {
      reserved,
    });
  }
  if (reservedExtents > freeExtents) {
    context.find(
      'EXTENT_COUNT_WRONG',
      `${reservedExtents} extents are reserved, and ${freeExtents} are free`,
      {
        reserved,
      },
    );
  }
}
