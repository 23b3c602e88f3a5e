/** The list of the replicas that a secondary has of its own, from what is on disk (own-replicas.ts has them open). */
import { statOrNull } from '../../../device/stat-or-null.js';
import { UserError } from '../../../errors.js';
import { type BlockRange, blocksOf } from '../../../replication/blocks.js';
import { readTracked, readUncopied } from '../on-disk.js';
import { type PrimaryPlaces, placesOfImage } from '../places.js';
import { type ReplicaEntry, type ReplicasContent, readReplicas } from '../replicas-file.js';
import { restoreFolder } from '../swap-folder.js';
import type { SecondaryIdentity } from './place.js';

export interface OwnList {
  readonly places: PrimaryPlaces;
  readonly content: ReplicasContent;
}

/** null: it has none. Of a list that it had as another volume, or another's secondary, nothing counts. */
export async function ownListOf(image: string, identity: SecondaryIdentity): Promise<OwnList | null> {
  const places = await placesOfImage(image);
  await restoreFolder(places.directory);
  if ((await statOrNull(places.replicas)) === null) return null;
  const content = await readReplicas(places.replicas);
  const isOwn = content.ofSecondary === identity.replicaUuid && content.volumeUuid === identity.volumeUuid;
  // What a demote left that was cut has none.
  const isLeft = content.former !== null && content.replicas.length === 0;
  return isOwn && !isLeft ? { places, content } : null;
}

/** What is written to it by a primary here would not be tracked for them. @throws UserError REFUSED. */
export async function assertNoneOfItsOwn(image: string, identity: SecondaryIdentity): Promise<void> {
  const names = (await ownListOf(image, identity))?.content.replicas.map(({ name }) => name) ?? [];
  if (names.length === 0) return;
  throw new UserError('REFUSED', `${image} has replicas of its own: ${names.join(', ')}`, {
    hint: 'They are kept by the server that offers it: holdfast serve IMAGE --secondary, and replica add with its URI. Or remove them there.',
    details: { image, replicas: names },
  });
}

/** A replica of its own that stays one when it is promoted. */
export interface KeptReplica {
  readonly entry: ReplicaEntry;
  readonly dirty: readonly BlockRange[];
  readonly uncopied: readonly BlockRange[];
}

/**
 * As they are on disk; nobody has the image open. `putBack`: blocks that promote puts back; null: all of them, maybe. They are tracked
 * already, as all that a primary writes: here they are once more, since nothing is to lean on that.
 */
export async function keptReplicas(
  image: string,
  identity: SecondaryIdentity,
  putBack: readonly BlockRange[] | null,
): Promise<readonly KeptReplica[]> {
  const own = await ownListOf(image, identity);
  if (own === null) return [];
  const { places, content } = own;
  const all = [{ from: 0, count: blocksOf(content.sizeBytes) }];
  const { replicas } = await readTracked(places);
  return Promise.all(
    content.replicas.map(async (entry) => {
      const { map, trouble } = replicas.get(entry.name)!;
      const isKnown = map !== null && trouble === null && putBack !== null;
      return {
        entry: { ...entry, isMapLost: false },
        dirty: isKnown ? [...map.runs(), ...putBack] : all,
        uncopied: await readUncopied(places, content, entry),
      };
    }),
  );
}
