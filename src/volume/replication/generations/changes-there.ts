/** What a promoted image here has of its own, from what is on disk beside it; nothing is locked or written. */
import { createHash } from 'node:crypto';
import { statOrNull } from '../../../device/stat-or-null.js';
import type { Marks } from '../../../replication/secondary/index.js';
import { type BlocksOnDisk, readTracked } from '../on-disk.js';
import { placesOfImage } from '../places.js';
import { described, hexOf, type PlaceChanges, type PlaceSide } from '../secondary/place.js';

/** `marks`: null where it is no secondary. */
export async function sideOfImage(image: string, marks: Marks | null): Promise<PlaceSide> {
  const side = { marks: marks === null ? null : described(marks), changes: null, whyNot: null };
  if (marks?.state !== 'promoted') return side;
  const changes = await changesThere(image, marks);
  return changes === null ? { ...side, whyNot: 'it was not tracked' } : { ...side, changes };
}

/** null: it was not tracked from the promote on that the marks tell of. */
async function changesThere(image: string, marks: Marks): Promise<PlaceChanges | null> {
  const places = await placesOfImage(image);
  if ((await statOrNull(places.replicas)) === null) return null;
  const { content, former } = await readTracked(places);
  if (former === null || content.former?.uuid !== hexOf(marks.replicaUuid)) return null;
  if (content.generation.id !== hexOf(marks.generation.id)) return null;
  return {
    ...former,
    sinceMs: content.former.sinceMs,
    replicas: content.replicas.map(({ name }) => name),
    id: idOf(content.generation.id, [former.written, former.putBack]),
  };
}

/** A block that is written again is in the maps already: whoever has marked them all has marked that. */
export function idOf(salt: string, maps: readonly Pick<BlocksOnDisk, 'map'>[]): string {
  const hash = createHash('sha256').update(salt);
  for (const { map } of maps) {
    hash.update(map === null ? 'not known' : `${map.blocks} blocks`);
    if (map !== null) for (const page of map.pages()) hash.update(`page ${page}`).update(map.page(page)!);
  }
  return hash.digest('hex').slice(0, 32);
}
