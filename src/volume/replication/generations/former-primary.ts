/**
 * What a volume that was a secondary keeps of its primary of before: which blocks were written here since it was promoted, and
 * which promote had put back. With the map of the former primary, should that come back, these are all that may differ.
 *
 * Blocks that promote puts back were overwritten by a resync, and the former primary may take them for synchronized: they are in
 * no map of its.
 *
 * Invariant: it is there, durably, before the marks say `promoted`, so before the first write. It counts only with marks of the same
 * generation: what a promote has left that was cut counts for nothing, and the next one makes it anew.
 */
import { rm } from 'node:fs/promises';
import type { BlockDevice } from '../../../device/contract.js';
import type { BlockRange } from '../../../replication/blocks.js';
import type { ReplicaDescription } from '../../../replication/replication.js';
import { DEFAULT_SETTINGS } from '../../../replication/settings.js';
import { makeTracking } from '../make-tracking.js';
import { makeMap, openMap, ownerOf } from '../map-files.js';
import type { PrimaryPlaces } from '../places.js';
import type { FormerPrimary, ReplicasContent, ReplicasFile } from '../replicas-file.js';

/** In messages, and in place of a replica's name. */
export const FORMER_NAME = 'the former primary';

/** Makes a tracked volume of what is being promoted. `putBack`: null is all blocks. What a cut promote left is gone. */
export async function makeFormer(
  places: PrimaryPlaces,
  content: ReplicasContent & { readonly former: FormerPrimary },
  putBack: readonly BlockRange[] | null,
): Promise<void> {
  await rm(places.directory, { recursive: true, force: true });
  const owner = ownerOf(content, content.former);
  await makeTracking(places, content, async () => {
    const since = await makeMap(places.sincePromote, { ...owner, kind: 'dirty' });
    await since.close();
    const ranges = putBack ?? [{ from: 0, count: owner.blocks }];
    const back = await makeMap(places.putBack, { ...owner, kind: 'putBack' }, ranges);
    await back.close();
  });
}

/** The map of what is written since, open. */
export function openSincePromote(
  places: PrimaryPlaces,
  file: ReplicasFile,
  former: FormerPrimary,
): Promise<BlockDevice> {
  const owner = { ...ownerOf(file.content, former), kind: 'dirty' as const };
  return openMap(places.sincePromote, owner, {
    isLost: former.isMapLost,
    onRemade: () => file.updateFormer({ isMapLost: false }),
  });
}

/** As a replica that is paused for ever: what is written is dirty for it. */
export function describeFormer({ uuid }: FormerPrimary, map: BlockDevice): ReplicaDescription {
  return {
    ...{ name: FORMER_NAME, uuid, map, uncopied: null, isWhole: false, isPaused: true },
    settings: DEFAULT_SETTINGS,
    connect: () => Promise.reject(new Error('nobody connects to a former primary')),
  };
}

export async function removeFormerMaps(places: PrimaryPlaces): Promise<void> {
  for (const path of [places.sincePromote, places.putBack]) await rm(path, { force: true });
}
