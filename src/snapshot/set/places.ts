/** Where things are in a set: its own file, and a folder for each backup. */
import { join } from 'node:path';
import { UserError } from '../../errors.js';
import { faultOfName } from '../../names.js';

const SET_FILE = 'set.json';

export function setFile(directory: string): string {
  return join(directory, SET_FILE);
}

export interface BackupPlaces {
  readonly name: string;
  readonly directory: string;
  /** Content, one piece after the other. Whoever makes the backup has it locked. */
  readonly data: string;
  /** What the content is, and where it belongs. */
  readonly pieces: string;
  /** What the backup is; replaced as a whole. */
  readonly record: string;
}

export function placesOf(set: string, name: string): BackupPlaces {
  const directory = join(set, name);
  const within = (file: string) => join(directory, file);
  return { name, directory, data: within('data'), pieces: within('pieces'), record: within('backup.json') };
}

/** Its folder has the name. @throws UserError USAGE */
export function assertBackupName(name: string): void {
  const why = faultOfName(name) ?? faultOfFolder(name);
  if (why === null) return;
  throw new UserError('USAGE', `${JSON.stringify(name)} cannot be the name of a backup: ${why}`, {
    details: { name },
  });
}

/** Entries of a set that are no backups begin so. */
export function isBackupFolder(name: string): boolean {
  return faultOfFolder(name) === null;
}

function faultOfFolder(name: string): string | null {
  if (name.startsWith('.')) return 'it begins with a dot';
  return name.startsWith(SET_FILE) ? `${SET_FILE} is the set's own` : null;
}
