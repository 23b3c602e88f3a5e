/** The files of a volume's maps: of a replica, which blocks are dirty for it, and which were never copied to it. */
import { rm } from 'node:fs/promises';
import type { BlockDevice } from '../../device/contract.js';
import { openImage } from '../../device/open-image.js';
import { type BlockRange, blocksOf } from '../../replication/blocks.js';
import { MapFile, type MapOwner } from '../../replication/map/map-file.js';
import { mapFileBytes } from '../../replication/map/page.js';
import type { ReplicaDescription } from '../../replication/replication.js';
import type { PrimaryPlaces } from './places.js';
import type { ReplicaEntry, ReplicasContent, ReplicasFile } from './replicas-file.js';

/** Open; whoever has them closes both. */
export interface Maps extends Pick<ReplicaDescription, 'map'> {
  readonly uncopied: BlockDevice;
}

/** What the list of the volume says of a map. */
export interface MapStanding {
  /** An earlier process could not write it: it is all dirty. */
  readonly isLost: boolean;
  /** It is good again, durably when it returns. */
  readonly onRemade: () => Promise<void>;
}

export function ownerOf(
  { volumeUuid, sizeBytes }: Pick<ReplicasContent, 'volumeUuid' | 'sizeBytes'>,
  { uuid }: { readonly uuid: string },
): Omit<MapOwner, 'kind'> {
  return { volumeUuid, replicaUuid: uuid, blocks: blocksOf(sizeBytes) };
}

/** Makes the file, with these blocks in it, and leaves it open. */
export async function makeMap(
  path: string,
  owner: MapOwner,
  ranges: Iterable<BlockRange> = [],
): Promise<BlockDevice> {
  return orClosed(
    await openImage(path, { readOnly: false, create: { size: mapFileBytes(owner.blocks) } }),
    (device) => fill(device, owner, ranges),
  );
}

/** One that was lost is made anew, and full. */
export async function openMap(
  path: string,
  owner: MapOwner,
  { isLost, onRemade }: MapStanding,
): Promise<BlockDevice> {
  return orClosed(await openImage(path, { readOnly: false }), async (device) => {
    if (!isLost) return;
    await fill(device, owner, [{ from: 0, count: owner.blocks }]);
    await onRemade();
  });
}

/** Those of a replica that is known. */
export async function openMaps(
  places: PrimaryPlaces,
  file: ReplicasFile,
  entry: ReplicaEntry,
): Promise<Maps> {
  const { name, isMapLost } = entry;
  const owner = ownerOf(file.content, entry);
  const standing = { isLost: isMapLost, onRemade: () => file.update(name, { isMapLost: false }) };
  return both(
    () => openMap(places.map(name), { ...owner, kind: 'dirty' }, standing),
    () => openImage(places.uncopied(name), { readOnly: false }),
  );
}

/** Of a new replica, without a bit. What is there of that name is gone. */
export async function makeMaps(
  places: PrimaryPlaces,
  content: ReplicasContent,
  entry: ReplicaEntry,
): Promise<Maps> {
  const { name } = entry;
  const owner = ownerOf(content, entry);
  await removeMaps(places, name);
  try {
    return await both(
      () => makeMap(places.map(name), { ...owner, kind: 'dirty' }),
      () => makeMap(places.uncopied(name), { ...owner, kind: 'uncopied' }),
    );
  } catch (error) {
    await removeMaps(places, name);
    throw error;
  }
}

export async function removeMaps(places: PrimaryPlaces, name: string): Promise<void> {
  for (const path of [places.map(name), places.uncopied(name)]) await rm(path, { force: true });
}

export function closersOf({ map, uncopied }: Maps): (() => Promise<void>)[] {
  return [() => map.close(), () => uncopied.close()];
}

async function both(dirty: () => Promise<BlockDevice>, uncopied: () => Promise<BlockDevice>): Promise<Maps> {
  const map = await dirty();
  try {
    return { map, uncopied: await uncopied() };
  } catch (error) {
    await map.close();
    throw error;
  }
}

async function fill(device: BlockDevice, owner: MapOwner, ranges: Iterable<BlockRange>): Promise<void> {
  const wanted = [...ranges];
  const made = await MapFile.format(device, owner);
  for (const range of wanted) made.map.set(range);
  await made.persist(wanted);
}

async function orClosed(
  device: BlockDevice,
  prepare: (device: BlockDevice) => Promise<void>,
): Promise<BlockDevice> {
  try {
    await prepare(device);
    return device;
  } catch (error) {
    await device.close();
    throw error;
  }
}
