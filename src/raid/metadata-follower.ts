/**
 * What follows the superblocks: the dirty-stripe record, the internal bitmap, PPL headers. Each is told before the
 * superblocks change, so that what a cut leaves of it is never behind them.
 */
import type { Superblock } from './md/model.js';
import type { ArrayMember } from './member.js';

/** What all superblocks are about to say. */
export interface SuperblockUpdate {
  readonly events: bigint;
  readonly resyncOffset: number | null;
  /** Of every member that is written, as it will be on disk. */
  readonly next: ReadonlyMap<ArrayMember, Superblock>;
}

export interface MetadataFollower {
  /** A member that joins gets what the others have of it. */
  onJoin(member: ArrayMember): Promise<void>;
  /** Before the first write of an opening, before the superblocks. */
  onActivate(): Promise<void>;
  /** Before superblocks are written, so that it is never behind them. */
  beforeSuperblocks(update: SuperblockUpdate): Promise<void>;
  /** Nothing is being written, all members are flushed, and no row is to be resynced. */
  onClean(): Promise<void>;
  /** It tells which sectors of a missing member are in doubt, also when the superblocks say clean. */
  readonly keepsDoubt?: boolean;
}
