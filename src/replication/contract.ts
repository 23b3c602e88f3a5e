/**
 * What the parts of replication are to one another: each can be tested with the others replaced. The tracker knows the log and
 * the maps by these faces; whoever sends to a secondary knows the tracker by INSERT, DELETE and RESET alone (coordinated dirty
 * block tracking, paragraphs 66, 74 and 75).
 */
import type { BlockRange } from './blocks.js';
import type { BlockMap } from './map/block-map.js';

/** The circular transaction log (paragraphs 49 to 53). */
export interface TransactionLogFace {
  /** Durable when it returns: the transactions that hold the ranges. null: there is no room, and nothing was written. */
  begin(ranges: readonly BlockRange[]): Promise<readonly number[] | null>;
  /** Written down with what is begun next. Once for each time that `begin` gave it: several may share one. */
  done(transaction: number): void;
}

/** A map and its place on disk (paragraphs 57, 61 and 98). */
export interface BlockMapFile {
  readonly map: BlockMap;
  /** When it returns, the bits of these ranges are durable, as far as the map has them. */
  persist(ranges: readonly BlockRange[]): Promise<void>;
  /** Bits that the map has no more are taken off the disk. */
  release(): Promise<void>;
}

/** Who a secondary is to the tracker. */
export interface BlockTracker {
  /** INSERT and DELETE of paragraphs 66 and 74: `remove` deletes, and tells the blocks whose list is empty then. */
  insert(sequence: number, range: BlockRange): void;
  remove(sequence: number): readonly BlockRange[];
  /** RESET of paragraph 75. Only for what both sides have flushed; blocks that were written to again stay dirty. */
  reset(ranges: readonly BlockRange[]): void;
}

/** Why a secondary is not in sync any more. */
export type LossReason =
  | 'log-full'
  | 'queue-full'
  | 'late'
  | 'secondary-failed'
  | 'primary-failed'
  | 'log-failed'
  | 'paused'
  | 'held'
  | 'repair';
