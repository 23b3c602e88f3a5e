/** What a folder of a set is found to be: what its `backup.json` says, and what became of whoever made it. */

import { lockHolder } from '../../device/image-lock.js';
import { UserError } from '../../errors.js';
import { type BackupRecord, readBackup } from './backup-file.js';
import { damagedFile, isDamage } from './damage.js';
import { type BackupPlaces, placesOf } from './places.js';
import type { SetContent } from './set-file.js';

export type BackupState = 'running' | 'good' | 'failed' | 'cancelled' | 'damaged';

export interface FoundBackup {
  readonly places: BackupPlaces;
  readonly state: BackupState;
  /** Why it is neither good nor running. */
  readonly reason: string | null;
  /** null: there is none that can be read. */
  readonly record: BackupRecord | null;
  /** What reading it met, of one that is damaged. */
  readonly damage: UserError | null;
}

const CUT = 'it was cut: whoever made it ended before it was whole';

/** Of a folder that is there. */
export async function findBackup(directory: string, set: SetContent, name: string): Promise<FoundBackup> {
  const places = placesOf(directory, name);
  try {
    const found = await stateOf(places, await readBackup(places));
    if (found.record !== null) assertIsOf(places, set, found.record);
    return { places, damage: null, ...found };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { places, state: 'damaged', reason: error.message, record: null, damage: error };
  }
}

type Judged = Pick<FoundBackup, 'state' | 'reason' | 'record'>;

async function stateOf(places: BackupPlaces, record: BackupRecord | null): Promise<Judged> {
  if (record !== null && record.state !== 'running') return judged(record);
  if (await isHeld(places.data)) return { state: 'running', reason: null, record };
  // It may have ended since it was looked at.
  const later = await readBackup(places);
  if (later !== null && later.state !== 'running') return judged(later);
  return { state: 'failed', reason: CUT, record: later };
}

function judged(record: BackupRecord): Judged {
  return { state: record.state, reason: record.reason, record };
}

async function isHeld(data: string): Promise<boolean> {
  try {
    return (await lockHolder(data)) !== null;
  } catch (error) {
    if (error instanceof UserError && error.code === 'VOLUME_NOT_FOUND') return false;
    throw error;
  }
}

function assertIsOf({ record: path, name }: BackupPlaces, set: SetContent, record: BackupRecord): void {
  if (record.setUuid !== set.uuid) throw damagedFile(path, 'it is of another set');
  if (record.name !== name) throw damagedFile(path, `it is of the backup ${record.name}`);
}
