/**
 * `holdfast fsck --revert`: puts back into a volume's images what a repair overwrote, and looks at what the volume is
 * then: mostly what was wrong before the repair is wrong again.
 */
import { stat } from 'node:fs/promises';
import type { Finding } from '../check/findings.js';
import { readUndo, type UndoContent } from '../check/undo/read-undo.js';
import { applyUndo, assertRevertable, matchImages, type Reverted } from '../check/undo/revert.js';
import { UserError } from '../errors.js';
import type { ExaminedImage } from '../raid/md/model.js';
import { lookAt } from './fsck-look.js';
import { openImages } from './images.js';
import { type Located, locateVolume, ownImages } from './locate.js';
import { recordPath } from './record-file.js';
import { findPrimaryPlaces } from './replication/places.js';
import { readReplicas } from './replication/replicas-file.js';
import { voidSnapshotsOfVolume } from './snapshots/void.js';

export interface RevertVolumeOptions {
  /** Though images were changed since, or part of the undo file is damaged. */
  readonly force: boolean;
  readonly record?: string | undefined;
  readonly warn: (message: string) => void;
}

export interface RevertedVolume extends Reverted {
  /** The repair was cut off while it kept something: what it had kept by then was put back. */
  readonly isTorn: boolean;
}

export interface RevertReport {
  readonly reverted: RevertedVolume;
  /** Of the look after it; data is not read. */
  readonly findings: readonly Finding[];
}

export async function revertVolume(
  args: readonly string[],
  file: string,
  options: RevertVolumeOptions,
): Promise<RevertReport> {
  const reverted = await putBack(args, file, options);
  const { record, warn } = options;
  try {
    return { reverted, findings: (await lookAt(args, { record, warn, scrub: null })).findings };
  } catch (error) {
    warn(`all is put back from ${file}; but what the volume is now could not be looked at`);
    throw error;
  }
}

async function putBack(
  args: readonly string[],
  file: string,
  options: RevertVolumeOptions,
): Promise<RevertedVolume> {
  const undo = await readUndo(file);
  const located = await locateVolume(args);
  await refuseReplicas(located);
  const paths = await matchedPaths(located, undo, options);
  const opened = await openImages(paths, new Set(), 'write');
  try {
    // Once more, now under the locks.
    const matched = await matchImages(undo, opened.images, options);
    // It passes by the gate, which would keep for them what is overwritten.
    await voidSnapshotsOfVolume(located, 'fsck --revert has put back what a repair had overwritten');
    const reverted = await applyUndo(
      undo,
      matched.map(({ device }) => device),
    );
    return { ...reverted, isTorn: undo.isTorn };
  } finally {
    await opened.close();
  }
}

/** What an undo file keeps: of the volume itself, and nothing of what lies beside it, which has rules of its own. */
export function undonePaths(located: Located, record: string | undefined): string[] {
  const named = recordPath(located, record);
  return [...ownImages(located), ...(named === null ? [] : [named])];
}

/** A secondary would not hear of it: what is put back passes by the tracking. */
async function refuseReplicas(located: Located): Promise<void> {
  const places = await findPrimaryPlaces(located, { isLook: true });
  if (places === null) return;
  const { replicas, former } = await readReplicas(places.replicas);
  if (replicas.length === 0 && former === null) return;
  throw new UserError('REFUSED', `${located.label} has replicas, which would not get what is put back`, {
    hint: 'Remove them (holdfast replica remove), and add them again when it is put back.',
  });
}

/** Only what is to be put back is opened for writing. */
async function matchedPaths(
  located: Located,
  undo: UndoContent,
  options: RevertVolumeOptions,
): Promise<string[]> {
  const candidates = undonePaths(located, options.record);
  const own = await stat(undo.path);
  const kinds = await Promise.all(candidates.map((path) => stat(path).catch(() => null)));
  const foreign = candidates.filter(
    (_, index) => kinds[index]?.ino !== own.ino || kinds[index]?.dev !== own.dev,
  );
  const opened = await openImages(foreign, new Set(foreign), 'look');
  try {
    assertRevertable(undo, uuidsOf(located, opened.images), options);
    const matched = await matchImages(undo, opened.images, options);
    return matched.map(({ image }) => image);
  } finally {
    await opened.close();
  }
}

/** Of the volume that is meant; none, where nothing is left that would tell. */
function uuidsOf({ manifest }: Located, images: readonly ExaminedImage[]): Set<string> {
  if (manifest !== null) return new Set([manifest.uuid]);
  return new Set(
    images.flatMap(({ superblocks, damaged }) => [
      ...superblocks.map((superblock) => superblock.setUuid),
      ...damaged.flatMap(({ claim }) => claim?.setUuid ?? []),
    ]),
  );
}
