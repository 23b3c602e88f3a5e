/**
 * The decision of a commit, extent by extent (data journaling, paragraphs 32, 33 and 36): are the journal extent and
 * the data extent swapped, or is what was marked copied home. Paragraph 49: whoever completes a transaction decides as
 * any other would have. So it is one pure function of what the metadata server knows, the client, the server and
 * recovery all call it, and the server refuses a Swap or a Commit that it does not give.
 *
 * Beyond the document: blocks can be cleared (they read as zeroes afterwards), a data extent can be absent, and
 * one that a snapshot shares is never written home.
 */
import { countBits, isEmpty, isEqual, union, without } from './bits.js';

export type Decision = 'swap' | 'commit';

/** One extent of a transaction, beside what the map has at its place before it. Bitmaps have a bit a block. */
export interface ExtentState {
  /** Written into the journal extent. */
  readonly marked: Uint8Array;
  /** To read as zeroes afterwards; none of them is marked. */
  readonly cleared: Uint8Array;
  /** Of the data extent; none where there is no data extent. */
  readonly used: Uint8Array;
  readonly hasData: boolean;
  /** The data extent is a snapshot's too. */
  readonly isShared: boolean;
}

/** Used blocks of the data extent that stay what they are. */
export function keptBlocks({ marked, cleared, used }: ExtentState): Uint8Array {
  return without(used, union(marked, cleared));
}

/** What is used when the extent is done, either way. */
export function usedAfter({ marked, cleared, used }: ExtentState): Uint8Array {
  return union(without(used, cleared), marked);
}

/**
 * `swap`: `keptBlocks` are copied to the journal extent, and the two change places. `commit`: the marked blocks are
 * copied home. Nothing marked and all or nothing of it kept is a commit whatever else holds: no block is written.
 */
export function decide(state: ExtentState): Decision {
  const kept = keptBlocks(state);
  if (isEmpty(state.marked) && (isEmpty(kept) || isEqual(kept, state.used))) return 'commit';
  if (!state.hasData || state.isShared) return 'swap';
  return countBits(state.marked) > countBits(kept) ? 'swap' : 'commit';
}
