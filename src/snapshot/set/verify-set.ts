/** Verifies backups of a set: what is wrong with their files is damage of theirs too. */
import type { UserError } from '../../errors.js';
import { BackupReader } from './backup-reader.js';
import type { BackupSet, BackupSummary } from './backup-set.js';
import { isDamage } from './damage.js';
import { SeenLayers, type Verification, type VerifyOptions, verifyBackup } from './verify-backup.js';

export interface VerifiedBackup extends Verification {
  readonly name: string;
}

export interface VerifiedSet {
  readonly backups: readonly VerifiedBackup[];
  /** They are not good, and nobody takes them to be: there is nothing to verify. */
  readonly leftOut: readonly Pick<BackupSummary, 'name' | 'state' | 'reason'>[];
}

/**
 * `name`: of one backup; null: all that are good, each piece once.
 *
 * @throws what `BackupSet.chainOf` throws of the one that is named, but for damage; what `verifyBackup` throws.
 */
export async function verifySet(
  set: BackupSet,
  name: string | null,
  options: Omit<VerifyOptions, 'seen'> = {},
): Promise<VerifiedSet> {
  const all = name === null ? await set.list() : [];
  const isGood = ({ state }: BackupSummary) => state === 'good' || state === 'damaged';
  const names = name === null ? all.filter(isGood).map((one) => one.name) : [name];
  const seen = new SeenLayers();
  const backups: VerifiedBackup[] = [];
  for (const each of names)
    backups.push({ name: each, ...(await verifyOne(set, each, { ...options, seen })) });
  const leftOut = all.filter((one) => !isGood(one));
  return {
    backups,
    leftOut: leftOut.map(({ name: other, state, reason }) => ({ name: other, state, reason })),
  };
}

async function verifyOne(set: BackupSet, name: string, options: VerifyOptions): Promise<Verification> {
  let reader: BackupReader;
  try {
    reader = await BackupReader.open(set, name);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { checkedPieces: 0, checkedBytes: 0, damaged: [damageOf(set, error)], subset: null };
  }
  try {
    return await verifyBackup(reader, options);
  } finally {
    await reader.close();
  }
}

function damageOf(set: BackupSet, { details, message }: UserError) {
  const file = typeof details.file === 'string' ? details.file : set.directory;
  return { file, offsetBytes: null, lengthBytes: null, reason: message };
}
