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

/** Throws what making it throws; nothing has been read of the volume then. */
export function openTarget(
  { to, isSet, name, since, force }: TargetChoice,
  { label, sizeBytes, signal }: OpenTargetOptions,
): Promise<BackupTarget> {
  if (!isSet) return openImageTarget(to, { sizeBytes, force, signal });
  return openSetTarget(to, { name, since, sizeBytes, label });
}

async function openSetTarget(
  directory: string,
  options: { name: string; since: string | null; sizeBytes: number; label: string },
): Promise<BackupTarget> {
  const writer = await SetWriter.create(directory, options);
  if (options.since === null) return writer;
  try {
    return new Increment(writer, await BackupReader.open(await openSet(directory), options.since));
  } catch (error) {
    await writer.abandon('failed', 'it was not begun');
    throw error;
  }
}
