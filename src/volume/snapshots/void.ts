/** An image whose content becomes another's: what is kept of its moments misses that. */
import { statOrNull } from '../../device/stat-or-null.js';
import { isRemote } from '../remote.js';
import { FileStore } from './file-store.js';
import { snapshotPlacesOfImage } from './places.js';
import { readSnapshots } from './snapshots-file.js';

/** Durable when it returns: all that it has are unusable, and say why. Before anything is written to the image that way. */
export async function voidSnapshotsOf(image: string, why: string): Promise<void> {
  if (isRemote(image)) return;
  const places = await snapshotPlacesOfImage(image);
  if ((await statOrNull(places.list)) === null) return;
  const content = await readSnapshots(places.list);
  const moments = content.moments.map((moment) => ({
    ...moment,
    layers: [],
    unusable: moment.unusable ?? why,
  }));
  const store = new FileStore(places, content, false);
  await store.save(moments);
  await store.removeUnneeded(content.moments.flatMap(({ layers }) => layers));
}
