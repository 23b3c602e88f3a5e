/**
 * Files on extents, with data journaling that swaps instead of copying (docs/architecture.md): the client of a metadata
 * server (src/metadata). What volumes, commands and NBD use of it is here; nothing else of the folder is theirs.
 */
export type {
  ClientPool,
  Clock,
  CommitResult,
  CreateFileOptions,
  FileInfo,
  FileJournal,
  FileStatistics,
  JournalStatus,
  OnJournalFull,
  OpenFileOptions,
  PoolTarget,
  Recovery,
  SpaceInfo,
  StoreOptions,
} from './contract.js';
export type { ExtentFile } from './file.js';
export { FileDevice } from './file-device.js';
export type { FlagsOptions, LocalFlagsFile } from './flags/contract.js';
export { ExtentStore } from './store.js';
export type { StoreFiles } from './store-files.js';
export type { StoreJournal } from './store-journal.js';
