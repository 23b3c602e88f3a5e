/** The files of a replica's two maps: which blocks are dirty for it, and which were never copied to it. */
import { rm } from 'node:fs/promises';
import type { BlockDevice } from '../../device/contract.js';
import { openImage } from '../../device/open-image.js';
import { blocksOf } from '../../replication/blocks.js';
import { MapFile } from '../../replication/map/map-file.js';
import { mapFileBytes } from '../../replication/map/page.js';
import type { ReplicaDescription } from '../../replication/replication.js';
import { closeInOrder } from '../stack.js';
import type { PrimaryPlaces } from './places.js';
import type { ReplicaEntry, ReplicasContent, ReplicasFile } from './replicas-file.js';

/** Open; whoever has them closes both. */
export interface Maps extends Pick<ReplicaDescription, 'map'> {
  readonly uncopied: BlockDevice;
}

type Kind = 'dirty' | 'uncopied';

/** Those of a replica that is known. One that an earlier process could not write is all dirty. */
export async function openMaps(
  places: PrimaryPlaces,
  file: ReplicasFile,
  entry: ReplicaEntry,
): Promise<Maps> {
  const maps = await both(places, entry.name, (path) => openImage(path, { readOnly: false }));
  if (!entry.isMapLost) return maps;
  try {
    const blocks = blocksOf(file.content.sizeBytes);
    const made = await MapFile.format(maps.map, { ...ownerOf(file.content, entry), kind: 'dirty' });
    made.map.setAll();
    await made.persist([{ from: 0, count: blocks }]);
    await file.update(entry.name, { isMapLost: false });
    return maps;
  } catch (error) {
    await closeInOrder(closersOf(maps));
    throw error;
  }
}

/** Of a new replica, without a bit. What is there of that name is gone. */
export async function makeMaps(
  places: PrimaryPlaces,
  content: ReplicasContent,
  entry: ReplicaEntry,
): Promise<Maps> {
  await removeMaps(places, entry.name);
  const owner = ownerOf(content, entry);
  try {
    return await both(places, entry.name, async (path, kind) => {
      const device = await openImage(path, {
        readOnly: false,
        create: { size: mapFileBytes(owner.blocks) },
      });
      try {
        await MapFile.format(device, { ...owner, kind });
        return device;
      } catch (error) {
        await device.close();
        throw error;
      }
    });
  } catch (error) {
    await removeMaps(places, entry.name);
    throw error;
  }
}

export async function removeMaps(places: PrimaryPlaces, name: string): Promise<void> {
  for (const path of [places.map(name), places.uncopied(name)]) await rm(path, { force: true });
}

export function closersOf({ map, uncopied }: Maps): (() => Promise<void>)[] {
  return [() => map.close(), () => uncopied.close()];
}

async function both(
  places: PrimaryPlaces,
  name: string,
  open: (path: string, kind: Kind) => Promise<BlockDevice>,
): Promise<Maps> {
  const map = await open(places.map(name), 'dirty');
  try {
    return { map, uncopied: await open(places.uncopied(name), 'uncopied') };
  } catch (error) {
    await map.close();
    throw error;
  }
}

function ownerOf({ volumeUuid, sizeBytes }: ReplicasContent, { uuid }: ReplicaEntry) {
  return { volumeUuid, replicaUuid: uuid, blocks: blocksOf(sizeBytes) };
}
