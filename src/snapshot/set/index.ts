/** A backup set: a directory of backups of one volume (docs/backup.md). */
export { BackupReader } from './backup-reader.js';
export { type BackupSet, type BackupSummary, openSet } from './backup-set.js';
export type { BackupState } from './backup-state.js';
export { isDamage } from './damage.js';
export { type RestoreOptions, type RestoreResult, restoreBackup } from './restore-backup.js';
export { SetWriter, type SetWriterOptions } from './set-writer.js';
export {
  type DamagedPiece,
  type SeededSource,
  SeenLayers,
  type Subset,
  type Verification,
  type VerifyOptions,
  verifyBackup,
} from './verify-backup.js';
