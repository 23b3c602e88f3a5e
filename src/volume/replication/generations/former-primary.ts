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
import type { KeptReplica } from '../secondary/own-list.js';
import { takePlace } from '../swap-folder.js';

/** In messages, and in place of a replica's name. */
export const FORMER_NAME = 'the former primary';

/**
 * Makes a tracked volume of what is being promoted. `putBack`: null is all blocks. `own`: replicas that it had as a secondary, and
 * has as a volume. What a cut promote left is gone.
 */
export async function makeFormer(
  places: PrimaryPlaces,
  content: Omit<ReplicasContent, 'replicas'> & { readonly former: FormerPrimary },
  putBack: readonly BlockRange[] | null,
  own: readonly KeptReplica[],
): Promise<void> {
  const begun = places.begun();
  await rm(begun.directory, { recursive: true, force: true });
  const owner = ownerOf(content, content.former);
  const replicas = own.map(({ entry }) => entry);
  await makeTracking(begun, { ...content, replicas }, async () => {
    const all = [{ from: 0, count: owner.blocks }];
    await made(begun.sincePromote, { ...owner, kind: 'dirty' });
    await made(begun.putBack, { ...owner, kind: 'putBack' }, putBack ?? all);
    for (const { entry, dirty, uncopied } of own) {
      const its = ownerOf(content, entry);
      await made(begun.map(entry.name), { ...its, kind: 'dirty' }, dirty);
      await made(begun.uncopied(entry.name), { ...its, kind: 'uncopied' }, uncopied);
    }
  });
  await takePlace(begun.directory, places.directory);
}

async function made(...map: Parameters<typeof makeMap>): Promise<void> {
  await (await makeMap(...map)).close();
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
