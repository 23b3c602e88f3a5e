/** The face of the client; what stands behind it follows. */
import { UserError } from '../errors.js';
import type {
  CommitResult,
  CreateFileOptions,
  FileInfo,
  JournalStatus,
  OpenFileOptions,
  Recovery,
  SpaceInfo,
  StoreOptions,
} from './contract.js';
import type { ExtentFile } from './file.js';

export interface StoreFiles {
  create(name: string, options: CreateFileOptions): Promise<FileInfo>;
  /** All, by name. */
  list(): Promise<FileInfo[]>;
  /** null: there is none. */
  find(name: string): Promise<FileInfo | null>;
  /** With what of it is not committed. IN_USE where it is open. */
  remove(name: string): Promise<void>;
  rename(name: string, newName: string): Promise<void>;
  /** Of the last commit point; waits for what is being completed. */
  snapshot(name: string, asName: string): Promise<FileInfo>;
}

export interface StoreJournal {
  status(): Promise<JournalStatus>;
  /** Of one file, or of all that have something: by name. */
  commit(name?: string): Promise<ReadonlyMap<string, CommitResult>>;
  /** The names of those that had something. */
  discard(name?: string): Promise<string[]>;
}

export class ExtentStore {
  readonly files!: StoreFiles;
  readonly journal!: StoreJournal;
  readonly recovery!: Recovery;
  readonly blockBytes!: number;
  readonly extentBytes!: number;

  static async open(_options: StoreOptions): Promise<ExtentStore> {
    throw new UserError('UNSUPPORTED', 'files on extents are not there yet');
  }

  /** Whoever opens a file that is open shares it. IN_USE where another client has it open for writing. */
  async openFile(_name: string, _options: OpenFileOptions): Promise<ExtentFile> {
    throw new UserError('UNSUPPORTED', 'files on extents are not there yet');
  }

  async space(): Promise<SpaceInfo> {
    throw new UserError('UNSUPPORTED', 'files on extents are not there yet');
  }

  /** When all that was hardened is complete. Throws what keeps it from that. */
  async settled(): Promise<void> {}

  /**
   * Closes its files (see ExtentFile.close), waits until what was hardened is complete, and gives up what journal
   * extents were taken ahead. Closing twice is allowed. Service, engine and devices stay the caller's to close.
   */
  async close(): Promise<void> {}
}
