/** A backup set: a directory of backups of one volume (docs/backup.md). */
export { BackupReader } from './backup-reader.js';
export { type BackupSet, type BackupSummary, openSet } from './backup-set.js';
export type { BackupState } from './backup-state.js';
export { Increment } from './increment.js';
export { type RestoreOptions, type RestoreResult, restoreBackup } from './restore-backup.js';
export { SetWriter, type SetWriterOptions } from './set-writer.js';
export {
  type Damage,
  type SeededSource,
  type Subset,
  type Verification,
  type VerifyOptions,
  verifyBackup,
} from './verify-backup.js';
export { type VerifiedBackup, type VerifiedSet, verifySet } from './verify-set.js';
