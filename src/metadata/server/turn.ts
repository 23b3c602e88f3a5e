/**
 * What a message has while it is its turn: the state to read and change, who asked, and what is to be told when what it
 * has changed is durable. Messages are handled one after another, so nothing changes under one.
 */
import type { ServerEvent } from '../messages.js';
import type { FullGroups } from './pool.js';
import type { State } from './state.js';

/** A part of a long message is put when it has grown to this; a group of messages is closed. */
export const PART_BYTES = 64 * 1024;
/**
 * With the last message of a group, or the last step of a part, an engine commit stays below this; but for a KiB for
 * each group of the pool (8192 extents) that an allocation of 512 extents goes through.
 */
export const LARGEST_COMMIT_BYTES = 256 * 1024;

export interface Turn {
  readonly state: State;
  readonly full: FullGroups;
  readonly nowMs: number;
  /** When the changes are durable; to one client, or to all but one (null: all). */
  tell(to: { readonly only: number } | { readonly allBut: number | null }, event: ServerEvent): void;
  /** Transactions are left without a client: told when the changes are durable. */
  orphaned(transactions: readonly number[]): void;
  /**
   * Makes what has been changed so far durable, where that is more than a part may be. Only for what is handled alone,
   * and may stop between parts: what goes on after a crash, or is taken back.
   */
  commitPart(force?: boolean): Promise<void>;
}

/** A client whose lease runs. */
export interface Caller {
  readonly client: number;
  readonly name: string;
}
