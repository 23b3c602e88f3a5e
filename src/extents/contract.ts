/**
 * What the client of extents is given and what it answers with: options, places of the pool, results, statistics. For
 * whoever uses it (volumes, commands, NBD); nothing here does anything.
 */
import type { BlockDevice } from '../device/contract.js';
import type { CompletionStatistics, ExtentPool } from '../metadata/completion.js';
import type { FlagPlace } from '../metadata/flag-places.js';
import type { FileInfo, MetadataService, SpaceInfo } from '../metadata/messages.js';
import type { FlagsOptions } from './flags/contract.js';

export type { FileInfo, SpaceInfo };

/** A run of extents that lie on one target. */
export interface PoolTarget {
  readonly device: BlockDevice;
  readonly from: number;
  readonly count: number;
}

/** Where extents lie, and which of them are lost with which target (paragraph 51). */
export interface ClientPool extends ExtentPool {
  readonly targets: readonly PoolTarget[];
}

/** What a write does that finds no journal extent: commit what was acknowledged so far, or fail with NO_SPACE. */
export type OnJournalFull = 'commit' | 'fail';

export interface Clock {
  /** Milliseconds since anything. */
  nowMs(): number;
  /** `isBackground`: a process that has nothing else to do need not stay for it. */
  wait(ms: number, options?: { readonly isBackground?: boolean }): Promise<void>;
}

export interface StoreOptions {
  readonly service: MetadataService;
  readonly pool: ClientPool;
  /** Who this is: a machine and a process, say. The same one comes back to what it kept. */
  readonly client: string;
  /**
   * Journal and data share one target, whose loss is the loss of both: a commit is acknowledged when it is hardened.
   * Else when it is complete.
   */
  readonly journalShares: boolean;
  /** Nothing is completed, recovered or written. */
  readonly readOnly?: boolean;
  readonly warn?: (message: string) => void;
  /** Memory for what is written and not on a device yet (paragraph 46); 0 writes at once. Default 16 MiB. */
  readonly writeBehindBytes?: number;
  /** How old it may become; default 5000. */
  readonly writeBehindAgeMs?: number;
  /** How long completion waits for a target that fails to come back (paragraph 51); default 10000. */
  readonly waitForTargetMs?: number;
  /** For files that are opened without saying so; default `commit`. */
  readonly onJournalFull?: OnJournalFull;
  /** Journal extents are associated when they are taken, or as the first step of the commit (paragraph 27). */
  readonly associates?: 'at-once' | 'at-commit';
  readonly clock?: Clock;
  /** Where flags of what is not committed are kept (paragraphs 29 and 31); default: at the metadata server. */
  readonly flags?: FlagsOptions;
}

export interface OpenFileOptions {
  readonly access: 'read' | 'write';
  /** Read what was kept and is not committed too, as who writes sees it. */
  readonly uncommitted?: boolean;
  readonly onJournalFull?: OnJournalFull;
}

export interface CreateFileOptions {
  readonly sizeBytes: number;
  /** Room in the pool that is kept for it. */
  readonly reserveBytes?: number;
}

export interface Recovery {
  /** Hardened in an earlier life, or by clients that are gone, and completed now. */
  readonly redoneTransactions: number;
  /** Journal extents that were associated and never hardened, and are free again. */
  readonly freedJournalExtents: number;
  /** Files with changes that were kept: they go on with them when they are opened for writing. */
  readonly keptFiles: number;
  /** Files with changes that were kept and are lost, as a whole: each was told of. */
  readonly lostFiles: number;
  readonly statistics: CompletionStatistics;
}

/** One commit; all zero where there was nothing to commit. */
export interface CommitResult {
  /** null: nothing was to be completed. */
  readonly transaction: number | null;
  readonly extents: number;
  /** Blocks that changed: those of the user, and those filled up at the edges of writes. */
  readonly writtenBlocks: number;
  readonly clearedBlocks: number;
  /**
   * What follows is final. Where journal and data share a target a commit is acknowledged before: see
   * ExtentStore.settled, and ExtentFile.statistics.
   */
  readonly isComplete: boolean;
  /** Extents that were swapped, and those whose blocks were copied home. */
  readonly swappedExtents: number;
  readonly committedExtents: number;
  /** From data extents to journal extents that swap; and from journal extents to data extents. */
  readonly copiedBlocks: number;
  readonly copiedHomeBlocks: number;
}

/** Since the file was opened. What completion did is counted when it is done: see ExtentStore.settled. */
export interface FileStatistics {
  readonly commits: number;
  /** Of these, because no journal extent was left. */
  readonly earlyCommits: number;
  /** To journal extents: what the devices were given, edges of writes filled up to whole blocks. */
  readonly writtenBlocks: number;
  readonly deviceWrites: number;
  readonly copiedBlocks: number;
  readonly copiedHomeBlocks: number;
  readonly swappedExtents: number;
  readonly committedExtents: number;
  /** Journal extents given up because their target failed before the commit (paragraph 51). */
  readonly movedJournalExtents: number;
}

/** What is written to a file and not committed. */
export interface FileJournal {
  readonly file: number;
  readonly name: string;
  readonly extents: number;
  readonly writtenBlocks: number;
  readonly clearedBlocks: number;
  /** The size that the file has after the commit. */
  readonly sizeBytes: number;
  readonly committedSizeBytes: number;
  /** Where its flags are kept; null: a crash loses it. */
  readonly flags: FlagPlace | null;
  /** What is kept cannot be had now: why. Nothing but discarding can be done with it. */
  readonly away: string | null;
  /** Open in this process now. */
  readonly isOpen: boolean;
}

export interface JournalStatus {
  /** Files with something that is not committed. */
  readonly files: readonly FileJournal[];
  /** Hardened and not complete yet. */
  readonly transactions: number;
  /** Journal extents taken ahead, and those that files hold. */
  readonly readyExtents: number;
  readonly heldExtents: number;
}
