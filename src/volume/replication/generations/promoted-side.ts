/**
 * A secondary that was promoted, as its primary of before finds it: what was written there since; and how it is made a secondary
 * again, which discards that.
 *
 * Order of `discard`, each durable before the next: what differs is in the map here; the marks there say that it is a secondary,
 * at its own last moment; its list of replicas is gone; the list here says that it has not diverged. Cut before the marks it is a promoted
 * volume as before, and the map here has more blocks than it had, which is only more work. Cut after them it is a secondary,
 * which is reached and copied to; what its list says is looked at no more, and the next promote makes it anew.
 */
import { statOrNull } from '../../../device/stat-or-null.js';
import { UserError } from '../../../errors.js';
import { type BlockRange, blocksOf } from '../../../replication/blocks.js';
import { BlockMap } from '../../../replication/map/block-map.js';
import { demote, type Marks, readMarks } from '../../../replication/secondary/index.js';
import { isRemote } from '../../remote.js';
import { type FormerOnDisk, readTracked } from '../on-disk.js';
import { forgetReplicasOf, type PrimaryPlaces, placesOfImage } from '../places.js';
import type { ReplicaEntry, ReplicasContent } from '../replicas-file.js';
import { openParts } from '../secondary/image-place.js';
import { generationOf, hexOf, identityOf, isSameSecondary } from '../secondary/place.js';

/** What is known of a promoted volume's own changes. */
export interface ChangesThere extends FormerOnDisk {
  readonly places: PrimaryPlaces;
  readonly sinceMs: number;
  /** Names of its own replicas. */
  readonly replicas: readonly string[];
}

/** null: it was not tracked from the promote on that the marks tell of. */
export async function changesThere(image: string, marks: Marks): Promise<ChangesThere | null> {
  const places = await placesOfImage(image);
  if ((await statOrNull(places.replicas)) === null) return null;
  const { content, former } = await readTracked(places);
  if (former === null || content.former?.uuid !== hexOf(marks.replicaUuid)) return null;
  if (content.generation.id !== hexOf(marks.generation.id)) return null;
  return {
    ...former,
    places,
    sinceMs: content.former.sinceMs,
    replicas: content.replicas.map(({ name }) => name),
  };
}

export interface DiscardingParts {
  readonly entry: ReplicaEntry;
  readonly whose: ReplicasContent;
  /** Makes them dirty here; durable when it returns. */
  readonly mark: (ranges: readonly BlockRange[]) => Promise<void>;
}

/** @throws UserError REFUSED where it was not promoted, has replicas, or nobody knows what was written; IN_USE. */
export async function discardThere({ entry, whose, mark }: DiscardingParts): Promise<void> {
  if (isRemote(entry.to))
    throw refused(
      entry,
      'is behind a server, where what was written to it cannot be looked at from here',
      'Make this volume a secondary of that one, over there (holdfast replica add with --discard-changes); or remove the replica, and add it anew with --force: all of it is copied then.',
    );
  const opened = await openParts(entry.to);
  try {
    const marks = await readMarks(opened.parts.marks);
    if (!isSameSecondary(identityOf(marks), { ...whose, replicaUuid: entry.uuid }))
      throw refused(entry, 'is a secondary of another volume');
    if (marks.state !== 'promoted')
      throw refused(
        entry,
        'was not promoted: there is nothing to discard',
        'holdfast replica resume goes on with it.',
      );
    const changes = await changesThere(entry.to, marks);
    if (changes === null)
      throw refused(
        entry,
        'was promoted, and what was written there since is not known',
        'Remove the replica, and add it anew with --force: all of it is copied then.',
      );
    if (changes.replicas.length > 0)
      throw refused(
        entry,
        `has replicas of its own: ${changes.replicas.join(', ')}`,
        'They would be like neither side any more: remove them there first.',
      );
    const ours = { from: 0, count: blocksOf(whose.sizeBytes) };
    await mark([...differingThere(changes).runsWithin(ours)]);
    const { generation, parent } = whose;
    await demote(opened.parts, {
      generation: generationOf(generation),
      parent: generationOf(parent ?? { number: 0, id: '0'.repeat(32) }),
      atMs: Date.now(),
    });
    await forgetReplicasOf(entry.to);
  } finally {
    await opened.close();
  }
}

/** All that may differ there from what the former primary has written down. */
export function differingThere({ written, putBack, places }: ChangesThere): BlockMap {
  if (written.map === null || putBack.map === null)
    throw new UserError(
      'METADATA_DAMAGED',
      `the maps in ${places.directory} cannot be read: ${written.trouble ?? putBack.trouble}`,
      {
        hint: 'Remove the replica, and add it anew with --force: all of it is copied then.',
        details: { image: places.directory },
      },
    );
  return united(written.map, putBack.map);
}

export function united(...maps: readonly BlockMap[]): BlockMap {
  const all = new BlockMap(Math.max(...maps.map(({ blocks }) => blocks)));
  for (const map of maps) all.add(map);
  return all;
}

function refused({ name, to }: ReplicaEntry, why: string, hint?: string): UserError {
  return new UserError('REFUSED', `${to} ${why}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { image: to, replica: name },
  });
}
