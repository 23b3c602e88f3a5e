/**
 * A primary that comes back, as the volume finds it that was its secondary and was promoted meanwhile: which blocks it had
 * written, and how it becomes a secondary itself, which discards them.
 *
 * Order, each durable before the next: all that differs is in the map of the new replica here, which nothing names yet; the
 * marks there, which appear in one step, say that it is a secondary, and nobody but its primary writes to it from then on; the
 * list here names the replica in place of the former primary; its own list of replicas is gone. Cut before the marks nothing has changed. Cut between the
 * marks and the list here it is a secondary that nobody has: its own list is still there and as true as it was, since nobody wrote to it,
 * and the same command does all of it again. Cut after that it is copied to, and its own list is looked at no more.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { openImage } from '../../../device/open-image.js';
import { statOrNull } from '../../../device/stat-or-null.js';
import { UserError } from '../../../errors.js';
import type { BlockRange } from '../../../replication/blocks.js';
import { BlockMap } from '../../../replication/map/block-map.js';
import type { SecondaryTracking } from '../../../replication/tracking/secondary-tracking.js';
import { locateVolume } from '../../locate.js';
import { absoluteImage, isRemote } from '../../remote.js';
import { type BlocksOnDisk, readTracked, readUncopied } from '../on-disk.js';
import { forgetReplicasOf, placesOfImage } from '../places.js';
import type { FormerPrimary, ReplicasContent } from '../replicas-file.js';
import { makeParts, marksOf } from '../secondary/image-place.js';
import { hexOf, type SecondaryToMake } from '../secondary/place.js';
import { idOf } from './changes-there.js';

export interface OldPrimary {
  readonly image: string;
  /** What it has written that the secondary had not, or may not have had, when it was promoted, and since. */
  readonly changed: BlockMap;
  /** Why that is no more than a guess; null: it is as it was written down. */
  readonly trouble: string | null;
  /** Since when it was without its secondary, milliseconds since 1970; null: it did not say. */
  readonly sinceMs: number | null;
  readonly uncopied: readonly BlockRange[];
}

/** The volume that was promoted, to which it comes back. */
export interface Promoted extends Pick<ReplicasContent, 'volumeUuid' | 'sizeBytes'> {
  /** What the list of the old primary calls it; null: it knows of none. */
  readonly former: Pick<FormerPrimary, 'uuid'> | null;
}

/** What is done while nobody else writes to the old primary. */
export interface Rejoining {
  /** Makes it a secondary: what it holds counts as a consistent point, and until it has been made like its primary, promote goes back to that. */
  make(secondary: Pick<SecondaryToMake, 'replicaUuid' | 'generation'>): Promise<void>;
  /** Its own list counts no more: to be called when ours names it. */
  forget(): Promise<void>;
}

/** The one image of a volume, by its own name or that of its directory; absolute. */
export async function imageOf(name: string): Promise<string> {
  if (isRemote(name)) return name;
  const { directory, manifest, images, label } = await locateVolume([name]);
  const [only] = images;
  if (directory === null || (manifest?.kind === 'single' && only !== undefined)) return absoluteImage(only!);
  throw new UserError('UNSUPPORTED', `${label} is no single image: a secondary is one`, {
    hint: 'Add a new image as its secondary; what the old volume holds stays as it is.',
    details: { image: name },
  });
}

/** Nothing is written or locked. @throws UserError REFUSED where it is not the former primary, or what it wrote is not known. */
export async function readOldPrimary(image: string, ours: Promoted): Promise<OldPrimary> {
  if (ours.former === null) throw unrelated(image, 'this volume knows of no former primary');
  const places = isRemote(image) ? null : await placesOfImage(image);
  if (places === null || (await statOrNull(places.replicas)) === null)
    throw unrelated(image, 'what was written to it was not tracked');
  const { content, replicas } = await readTracked(places);
  const entry = content.replicas.find(({ uuid }) => uuid === ours.former!.uuid);
  if (content.volumeUuid !== ours.volumeUuid || entry === undefined)
    throw unrelated(image, 'this volume was never a secondary of it');
  if (content.sizeBytes !== ours.sizeBytes)
    throw unrelated(image, `it has ${content.sizeBytes} bytes, and this volume has ${ours.sizeBytes}`);
  const others = content.replicas.filter((one) => one !== entry).map(({ name }) => name);
  if (others.length > 0)
    throw new UserError('REFUSED', `${image} has other replicas: ${others.join(', ')}`, {
      hint: 'They would be like neither side any more: remove them there first (replica remove).',
      details: { image },
    });
  const { map, trouble } = replicas.get(entry.name)!;
  if (map === null) throw unrelated(image, `its map cannot be read: ${trouble}`);
  const uncopied = await readUncopied(places, content, entry);
  return { image, changed: map, trouble, sinceMs: entry.awaySinceMs, uncopied };
}

/** Of two looks the same as long as it was not written, and again where it was written in the same blocks alone. */
export function idOfOld(old: OldPrimary): string {
  return idOf('', [{ map: old.changed }, { map: neverCopied(old) }]);
}

export function neverCopied({ changed, uncopied }: OldPrimary): BlockMap {
  const never = new BlockMap(changed.blocks);
  for (const range of uncopied) never.set(range);
  return never;
}

/** Locked as long as `use` runs: nobody writes to it meanwhile. @throws UserError IN_USE, and as `readOldPrimary`. */
export async function withOldImage<T>(
  image: string,
  ours: Promoted,
  use: (old: OldPrimary, rejoining: Rejoining) => Promise<T>,
): Promise<T> {
  const first = await readOldPrimary(image, ours);
  const device = await openImage(image, { readOnly: false });
  try {
    if (device.size !== ours.sizeBytes) throw unrelated(image, `it has ${device.size} bytes`);
    // As it is now that nobody writes to it.
    const old = await readOldPrimary(first.image, ours);
    return await use(old, {
      make: (secondary) => makeSecondary(device, image, { ...ours, ...secondary }),
      forget: () => forgetReplicasOf(image),
    });
  } finally {
    await device.close();
  }
}

/**
 * All that may differ is dirty for the new replica, durably: `ours`, what was written here since the promote; `putBack`, what that
 * had put back; and what it wrote itself. What was never copied from it need not be copied to it.
 */
export async function markDiffering(
  tracking: SecondaryTracking,
  { changed, uncopied }: OldPrimary,
  ours: readonly BlockRange[],
  putBack: BlocksOnDisk,
): Promise<void> {
  for (const range of uncopied) tracking.uncopied?.map.set(range);
  // Written since the replica is tracked.
  for (const range of [...tracking.map.runs()]) tracking.uncopied?.map.clear(range);
  const all = { from: 0, count: tracking.map.blocks };
  const back = putBack.map === null ? [all] : putBack.map.runs();
  for (const ranges of [ours, changed.runs(), back]) for (const range of ranges) tracking.mark(range);
  await tracking.uncopied?.file.persist([all]);
  await tracking.file.persist([all]);
}

async function makeSecondary(
  device: BlockDevice,
  image: string,
  secondary: Omit<SecondaryToMake, 'force'>,
): Promise<void> {
  // What its users wrote last is part of that point.
  await device.flush();
  await makeParts(device, image, secondary, { state: 'consistent', atMs: Date.now() });
}

/** The marks must be those of the promote since which the volume is tracked. */
export async function assertPromoted(image: string, { generation }: ReplicasContent): Promise<void> {
  const marks = await marksOf(image);
  if (marks?.state === 'promoted' && hexOf(marks.generation.id) === generation.id) return;
  throw unrelated(image, 'it was not tracked since it was promoted');
}

function unrelated(image: string, why: string): UserError {
  return new UserError('REFUSED', `${image}: it is not known which blocks differ: ${why}`, {
    hint: 'holdfast replica add with --force makes a secondary of it all the same: all of it is copied, and what it holds is lost.',
    details: { image },
  });
}
