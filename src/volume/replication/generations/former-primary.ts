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
import { openImage } from '../../../device/open-image.js';
import { type BlockRange, blocksOf } from '../../../replication/blocks.js';
import { MapFile, type MapOwner } from '../../../replication/map/map-file.js';
import { mapFileBytes } from '../../../replication/map/page.js';
import type { ReplicaDescription } from '../../../replication/replication.js';
import { DEFAULT_SETTINGS } from '../../../replication/settings.js';
import { makeTracking } from '../make-tracking.js';
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
  const owner = ownerOf(content);
  await makeTracking(places, content, async () => {
    await makeMap(places.sincePromote, { ...owner, kind: 'dirty' }, []);
    const ranges = putBack ?? [{ from: 0, count: owner.blocks }];
    await makeMap(places.putBack, { ...owner, kind: 'putBack' }, ranges);
  });
}

/** The map of what is written since, open; one that an earlier process could not write is made anew, and full. */
export async function openSincePromote(places: PrimaryPlaces, file: ReplicasFile): Promise<BlockDevice> {
  const { former } = file.content;
  const device = await openImage(places.sincePromote, { readOnly: false });
  if (former?.isMapLost !== true) return device;
  try {
    const owner = ownerOf({ ...file.content, former });
    await fill(device, { ...owner, kind: 'dirty' }, [{ from: 0, count: owner.blocks }]);
    await file.updateFormer({ isMapLost: false });
    return device;
  } catch (error) {
    await device.close();
    throw error;
  }
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

export function ownerOf({
  volumeUuid,
  sizeBytes,
  former,
}: Pick<ReplicasContent, 'volumeUuid' | 'sizeBytes'> & { readonly former: FormerPrimary }): Omit<
  MapOwner,
  'kind'
> {
  return { volumeUuid, replicaUuid: former.uuid, blocks: blocksOf(sizeBytes) };
}

async function makeMap(path: string, owner: MapOwner, ranges: readonly BlockRange[]): Promise<void> {
  const device = await openImage(path, { readOnly: false, create: { size: mapFileBytes(owner.blocks) } });
  try {
    await fill(device, owner, ranges);
  } finally {
    await device.close();
  }
}

async function fill(device: BlockDevice, owner: MapOwner, ranges: readonly BlockRange[]): Promise<void> {
  const made = await MapFile.format(device, owner);
  for (const range of ranges) made.map.set(range);
  await made.persist(ranges);
}
