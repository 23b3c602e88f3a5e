/**
 * A secondary that was promoted, as its primary of before finds it: what was written there since; and how it is made a secondary
 * again, which discards that. Whether it is an image here or behind a server of ours: both are places (secondary/place.ts).
 *
 * Order of `discard`, each durable before the next: what differs is in the map here; the marks there say that it is a secondary,
 * at its own last moment; its list of replicas is gone; the list here says that it has not diverged. Cut before the marks it is a promoted
 * volume as before, and the map here has more blocks than it had, which is only more work. Cut after them it is a secondary,
 * which is reached and copied to; what its list says is looked at no more, and the next promote makes it anew. So it may be
 * asked for again, whatever was cut, and also where an answer was lost: of one that is a secondary there is nothing to discard.
 */
import { UserError } from '../../../errors.js';
import { type BlockRange, blocksOf } from '../../../replication/blocks.js';
import { BlockMap } from '../../../replication/map/block-map.js';
import type { ReplicaEntry, ReplicasContent } from '../replicas-file.js';
import { placeOf } from '../secondary/connect.js';
import type { PlaceChanges } from '../secondary/place.js';

export interface DiscardingParts {
  readonly entry: ReplicaEntry;
  readonly whose: ReplicasContent;
  /** Makes them dirty here; durable when it returns. */
  readonly mark: (ranges: readonly BlockRange[]) => Promise<void>;
}

/** @throws UserError REFUSED where it is another's, has replicas, or nobody knows what was written; IN_USE; ConnectionLost. */
export async function discardThere({ entry, whose, mark }: DiscardingParts): Promise<void> {
  const { to, uuid, name } = entry;
  const place = await placeOf(entry);
  if (place === null)
    throw new UserError('REFUSED', `${to} is ${FOREIGN}`, {
      hint: 'holdfast replica resume goes on with it. Where somebody has written there: remove the replica, and add it anew with --force, which copies all.',
      details: { image: to, replica: name },
    });
  const { volumeUuid, generation, parent, sizeBytes } = whose;
  const ours = { from: 0, count: blocksOf(sizeBytes) };
  const demotion = { volumeUuid, replicaUuid: uuid, generation, parent, atMs: Date.now() };
  await place.demote(demotion, (changes) => mark([...differingThere(to, changes).runsWithin(ours)]));
}

/** Why nothing is known of what only its own server has written. */
export const FOREIGN =
  'an export that no "serve --secondary" offers: its server does not say what was written to it';

/** All that may differ there from what the former primary has written down. */
export function differingThere(to: string, { written, putBack }: PlaceChanges): BlockMap {
  if (written.map === null || putBack.map === null)
    throw new UserError(
      'METADATA_DAMAGED',
      `the maps beside ${to} cannot be read: ${written.trouble ?? putBack.trouble}`,
      {
        hint: 'Remove the replica, and add it anew with --force: all of it is copied then.',
        details: { image: to },
      },
    );
  return united(written.map, putBack.map);
}

export function united(...maps: readonly BlockMap[]): BlockMap {
  const all = new BlockMap(Math.max(...maps.map(({ blocks }) => blocks)));
  for (const map of maps) all.add(map);
  return all;
}
