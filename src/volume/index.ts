/** What commands do with volumes. */
export { act, openForData } from './act.js';
export type { ContainerChoice } from './backup/container-place.js';
export type { CreatedBackup } from './backup/create.js';
export type { RunningBackup } from './backup/volume-backups.js';
export { thenClose } from './closing.js';
export { type CreatedVolume, createVolume } from './create.js';
export { type CreateVolumeOptions, type PlannedVolume, planVolume } from './create-plan.js';
export { examineImages, type ImageReport } from './examine.js';
export { type FilesRecovery, recoverFiles } from './extents-recovery.js';
export { type OpenFile, type OpenFileOptions, withFile } from './file-data.js';
export type { FileStatus } from './file-operations.js';
export { writeCommitted } from './file-stream.js';
export { type FsckOptions, type FsckReport, fsckVolume, type ReportedFinding } from './fsck.js';
export { type RevertedVolume, revertVolume } from './fsck-revert.js';
export { type Located, locateVolume, ownImages } from './locate.js';
export {
  type AddedMember,
  type AddMemberOptions,
  addMember,
  chooseSlot,
  finishRebuilds,
} from './members.js';
export { arrayOf, type OpenVolumeOptions, type Recovery, type Volume } from './model.js';
export type { OperationArguments, OperationName, OperationResult } from './operations.js';
export { type RemovedMember, removeMember } from './removal.js';
export {
  type ChangedBlocks,
  type Explanation,
  explainReplicas,
  explainReturn,
  type ReplicaExplanation,
} from './replication/generations/explain.js';
export { type PromotedSecondary, promoteSecondary } from './replication/generations/promote.js';
export type { ReplicaStatus } from './replication/status.js';
export { assertTakesBackup, isNewTarget, newTarget } from './restore-target.js';
export type { ServingStatus } from './serving-status.js';
export type { SnapshotContainer } from './snapshots/operations.js';
export type { SnapshotStatus } from './snapshots/status.js';
export { volumeStatus } from './status.js';
export type { MemberStatus, RecordStatus, VolumeState, VolumeStatus } from './status-model.js';
export { readStream, sparseStream, writeStream } from './stream.js';
export { openVolume } from './volume.js';
