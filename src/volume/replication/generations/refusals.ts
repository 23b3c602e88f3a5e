/** What is refused because both sides may have been written, in words that say what it would cost: status --explain has more. */

import { statOrNull } from '../../../device/stat-or-null.js';
import { UserError } from '../../../errors.js';
import { isRemote } from '../../remote.js';
import { placesOfImage } from '../places.js';
import { type ReplicaEntry, type ReplicasContent, readReplicas } from '../replicas-file.js';
import { placeOf } from '../secondary/connect.js';
import { isSameSecondary, type PlaceSide } from '../secondary/place.js';
import { lookAtOldPrimary } from './coming-back.js';
import { imageOf, type OldPrimary, readOldPrimary } from './old-primary.js';
import { differingThere } from './promoted-side.js';

/** A secondary of ours that was promoted meanwhile. @throws UserError REFUSED. */
export async function refusePromoted(
  entry: ReplicaEntry,
  { volumeUuid }: ReplicasContent,
  dirtyBlocks: number,
): Promise<void> {
  const { name, to, uuid } = entry;
  const side = await sideUnlessAway(entry);
  if (side?.marks?.state !== 'promoted') return;
  const isOurs = isSameSecondary(side.marks, { volumeUuid, replicaUuid: uuid });
  const changes = isOurs ? side.changes : null;
  const there = changes === null ? null : differingThere(to, changes).count;
  const since = changes === null ? '' : ` on ${timeOf(changes.sinceMs)}`;
  const written =
    there === null
      ? `what was written there since is not known${side.whyNot === null ? '' : `: ${side.whyNot}`}`
      : `${there} blocks are not as they were there, and ${dirtyBlocks} here`;
  throw new UserError('REFUSED', `${to} was promoted${since}: ${written}`, {
    hint: 'holdfast replica resume with --discard-changes makes it a secondary again, and what was written there is lost; holdfast replica add with --discard-changes, over there, makes a secondary of this volume instead.',
    details: {
      image: to,
      replica: name,
      reason: 'diverged',
      changedBlocksThere: there,
      changedBlocksHere: dirtyBlocks,
    },
  });
}

/** null: it is foreign, or away; of one that is away it is said when it is connected to. */
async function sideUnlessAway(entry: ReplicaEntry): Promise<PlaceSide | null> {
  const place = await placeOf(entry);
  try {
    return (await place?.side()) ?? null;
  } catch (error) {
    if (!(error instanceof UserError) || !entry.isServed) throw error;
    return null;
  }
}

/** The former primary that comes back is no image like any other. @throws UserError REFUSED. */
export async function refuseOldPrimary(to: string, ours: ReplicasContent): Promise<void> {
  if (ours.former === null) return;
  const old = isRemote(to) ? await lookedAtThere(to, ours) : await lookedAtHere(to, ours);
  if (old === null) return;
  const { image, changed } = old;
  throw new UserError(
    'REFUSED',
    `${image} is the primary that this volume had until it was promoted on ${timeOf(ours.former.sinceMs)}: ${changed.count} blocks were written there that this volume has not`,
    {
      hint: 'With --discard-changes it becomes a secondary: these are lost, and what differs is copied.',
      details: { image, reason: 'diverged', discardedBlocks: changed.count },
    },
  );
}

/** null: it has nothing to do with this volume. */
async function lookedAtHere(to: string, ours: ReplicasContent): Promise<OldPrimary | null> {
  const image = (await statOrNull(to))?.isDirectory() === true ? await imageOf(to) : to;
  const { replicas } = await placesOfImage(image);
  if ((await statOrNull(replicas)) === null) return null;
  const { volumeUuid } = await readReplicas(replicas);
  return volumeUuid === ours.volumeUuid ? readOldPrimary(image, ours) : null;
}

/** null: it is none, or its server is not ours, or does not say. */
async function lookedAtThere(uri: string, ours: ReplicasContent): Promise<OldPrimary | null> {
  try {
    return await lookAtOldPrimary(uri, ours);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return null;
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
