/** Where a backup goes: an image, an export, or a backup set. */
import type { BackupTarget } from '../../snapshot/backup/target.js';
import { SetWriter } from '../../snapshot/set/index.js';
import { openImageTarget } from './image-target.js';

export interface TargetChoice {
  readonly to: string;
  readonly isSet: boolean;
  /** Of the backup, in a set. */
  readonly name: string;
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
  { to, isSet, name, force }: TargetChoice,
  { label, sizeBytes, signal }: OpenTargetOptions,
): Promise<BackupTarget> {
  if (!isSet) return openImageTarget(to, { sizeBytes, force, signal });
  return SetWriter.create(to, { name, since: null, sizeBytes, label });
}
