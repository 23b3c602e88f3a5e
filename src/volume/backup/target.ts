/** Where a backup goes: an image, an export, or a backup set. */
import type { BackupTarget } from '../../snapshot/backup/target.js';
import { BackupReader, Increment, openSet, SetWriter } from '../../snapshot/set/index.js';
import { openImageTarget } from './image-target.js';

export interface TargetChoice {
  readonly to: string;
  readonly isSet: boolean;
  /** Of the backup, in a set. */
  readonly name: string;
  /** In a set: the backup that is there already, of which only what differs is kept. null: all is. */
  readonly since: string | null;
  /** Replaces an image, or overwrites an export. */
  readonly force: boolean;
}

interface OpenTargetOptions {
  /** The volume's. */
  readonly label: string;
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

export interface OpenedTarget {
  readonly target: BackupTarget;
  /** null: it is in no set, and nothing is made since it. */
  readonly inSet: BackupInSet | null;
}

/** As the set knows it. */
export interface BackupInSet {
  readonly id: string;
  readonly parentId: string | null;
  /** null: it has all. */
  readonly increment: Increment | null;
}

/** Throws what making it throws; nothing has been read of the volume then. */
export async function openTarget(
  { to, isSet, name, since, force }: TargetChoice,
  { label, sizeBytes, signal }: OpenTargetOptions,
): Promise<OpenedTarget> {
  if (!isSet) return { target: await openImageTarget(to, { sizeBytes, force, signal }), inSet: null };
  return openSetTarget(to, { name, since, sizeBytes, label });
}

async function openSetTarget(
  directory: string,
  options: { name: string; since: string | null; sizeBytes: number; label: string },
): Promise<OpenedTarget> {
  const writer = await SetWriter.create(directory, options);
  const { id, parentId } = writer;
  if (options.since === null) return { target: writer, inSet: { id, parentId, increment: null } };
  try {
    const parent = await BackupReader.open(await openSet(directory), options.since);
    const increment = new Increment(writer, parent);
    return { target: increment, inSet: { id, parentId, increment } };
  } catch (error) {
    await writer.abandon('failed', 'it was not begun');
    throw error;
  }
}
