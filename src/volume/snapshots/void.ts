/** Volumes whose content is changed behind the gate, or becomes another's: what is kept of their moments misses that. */
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from '../../device/device-errors.js';
import { syncDirectory } from '../../device/image-open.js';
import { statOrNull } from '../../device/stat-or-null.js';
import type { Located } from '../locate.js';
import { isRemote } from '../remote.js';
import { FileStore } from './file-store.js';
import {
  findSnapshotPlaces,
  type SnapshotPlaces,
  snapshotPlacesOfImage,
  snapshotPlacesWithin,
} from './places.js';
import { readSnapshots } from './snapshots-file.js';

/** Durable when it returns: all that it has are unusable, and say why. Before anything is written to the image that way. */
export async function voidSnapshotsOf(image: string, why: string): Promise<void> {
  if (!isRemote(image)) await voidAll(await snapshotPlacesOfImage(image), why);
}

/** As `voidSnapshotsOf`, of any volume, which is locked. */
export async function voidSnapshotsOfVolume(located: Located, why: string): Promise<void> {
  const places = await findSnapshotPlaces(located, { isLook: true });
  if (places !== null) await voidAll(places, why);
}

async function voidAll(places: SnapshotPlaces, why: string): Promise<void> {
  if ((await statOrNull(places.list)) === null) return;
  const content = await readSnapshots(places.list);
  const store = new FileStore(places, content, false);
  await store.voidAll(why);
  await store.removeUnneeded(content.moments.flatMap(({ layers }) => layers));
}

/**
 * A new volume is made in the directory, of these images: it has none of those that were there. Durable when it returns. Throws
 * METADATA_DAMAGED where nobody can tell what their containers are.
 */
export async function forgetSnapshots(directory: string, images: readonly string[]): Promise<void> {
  const local = images.filter((image) => !isRemote(image));
  const all = [snapshotPlacesWithin(directory), ...(await Promise.all(local.map(snapshotPlacesOfImage)))];
  for (const places of all) {
    await voidAll(places, 'a new volume was made in its place');
    if ((await statOrNull(places.list)) === null) continue;
    await rm(places.list).catch((error: unknown) => {
      throw fileError(places.list, 'removed', error);
    });
    await syncDirectory(dirname(places.list));
  }
}
