/**
 * Commits of a file (data journaling, paragraphs 30 to 38): seal the epoch, write it out, flush, harden its flags in one
 * message, and have it completed in the background. One is on its way at a time, and those who ask meanwhile share
 * the next.
 *
 * The order, and why
 * - Sealing is one turn of the loop, so the commit is a point in the order of writes (epoch.ts, admission.ts). The
 *   writes that had begun end before anything is flushed.
 * - The journal's data is flushed before the flags are hardened: from then on whoever completes goes by the flags.
 * - Where journal and data share a target, hardened is as good as complete, and is acknowledged. Else the journal's target
 *   may be lost, and the transaction with it (paragraph 51): only what is complete is acknowledged.
 * - After a failure nobody knows what of the epoch is where: nothing is written to the file any more, and what is on disk
 *   is the last commit point.
 */
import { SharedFlush } from '../device/shared-flush.js';
import { retire } from './association.js';
import type { CommitResult } from './contract.js';
import type { Epoch } from './epoch.js';
import type { FileState } from './file-state.js';
import { isNoSpace } from './journal-reserve.js';
import { flagsGone, flagsOf } from './kept-flags.js';
import { writeOutAndFlush } from './write-out.js';

/** A commit that counts. */
export interface Hardened {
  readonly epoch: Epoch;
  readonly extents: number;
  readonly writtenBlocks: number;
  readonly clearedBlocks: number;
  /** null: there is nothing to complete. */
  readonly done: Promise<void> | null;
}

export class Commits {
  readonly #shared: SharedFlush<Hardened | null>;

  constructor(private readonly state: FileState) {
    this.#shared = new SharedFlush(() => state.inTurn(() => this.#once()));
    state.commitEarly = async () => {
      if (!state.current.isEmpty) state.counts.earlyCommits += 1;
      await this.#shared.run();
    };
  }

  /** `isComplete`: waits until it is complete though it need not. */
  async commit({ isComplete = false } = {}): Promise<CommitResult> {
    const { context, file } = this.state;
    const hardened = await this.#shared.run();
    if (context.settings.journalShares && !isComplete) return resultOf(hardened);
    // An empty one too promises what was acknowledged before it was asked for.
    try {
      if (hardened?.done) await hardened.done;
      else await context.completions.idle(file);
    } catch (cause) {
      throw this.state.failed ?? cause;
    }
    this.state.check();
    return resultOf(hardened);
  }

  /** null: there was nothing to commit. */
  async #once(): Promise<Hardened | null> {
    const { state } = this;
    state.check();
    state.context.completions.check();
    if (!state.current.isEmpty) {
      state.sealed.push(state.current);
      state.current = state.newEpoch();
    }
    return this.hardenSealed();
  }

  /** In turn. More than one where the metadata server had no room for the one before. */
  async hardenSealed(): Promise<Hardened | null> {
    let last: Hardened | null = null;
    for (const epoch of this.state.unhardened) last = await this.#commit(epoch);
    return last;
  }

  async #commit(epoch: Epoch): Promise<Hardened> {
    const { state } = this;
    try {
      await epoch.writesEnded();
      // Of flags that are being withdrawn, all are: what is hardened now comes after it.
      await epoch.withdrawing;
      state.check();
      await writeOutAndFlush(state, epoch);
    } catch (cause) {
      throw state.fail(cause);
    }
    try {
      return await this.#harden(epoch);
    } catch (cause) {
      // It was refused as a whole: the next commit tries again.
      if (isNoSpace(cause)) throw cause;
      throw state.fail(cause);
    }
  }

  async #harden(epoch: Epoch): Promise<Hardened> {
    const { state } = this;
    const { session, client, completions, reserve } = state.context;
    const { file } = state;
    const extents = flagsOf(state, epoch);
    const { marked: writtenBlocks, cleared: clearedBlocks } = epoch.count();
    const sizeBytes = epoch.sizeBytes ?? (state.hasKeptSize ? state.committedSizeBytes : null);
    const sizes = sizeBytes === null ? [] : [{ file, sizeBytes }];
    // What is done at once is the newest of the file here too: the answers to what completed older ones have come.
    const completes = !completions.hasLeft(file);
    const { transaction, done: doneAtOnce } = await session.request({
      type: 'Harden_Extent_Flags',
      client,
      extents,
      sizes,
      starts: true,
      completes,
    });
    // In one turn: what was the epoch's buffers is its journal extents, which are pending from now on.
    epoch.dropBuffers();
    const { keptIn } = epoch;
    epoch.keptIn = null;
    epoch.transaction = transaction;
    state.counts.commits += 1;
    if (sizeBytes !== null) {
      state.committedSizeBytes = sizeBytes;
      state.hasKeptSize = false;
    }
    reserve.committed(extents.length);
    if (transaction === null) state.sealed = state.sealed.filter((one) => one !== epoch);
    const isAtOnce = transaction !== null && doneAtOnce !== null;
    if (isAtOnce) void completions.doneAtOnce(transaction, doneAtOnce);
    const done = transaction === null || isAtOnce ? null : completions.add(transaction, file);
    if (keptIn !== null || epoch.flagsExtents.length > 0) await flagsGone(state, epoch, keptIn ?? 'data');
    return { epoch, extents: extents.length, writtenBlocks, clearedBlocks, done };
  }
}

/** What is not committed is dropped, and its journal extents are given back. With all of the file locked, in turn. */
export async function dropEpoch(state: FileState, epoch: Epoch, { toPool = false } = {}): Promise<void> {
  epoch.dropBuffers();
  // What is on its way to its journal extents must not meet what others write there.
  await epoch.writesEnded();
  const retired = [...epoch.places.values()]
    .filter(({ journal }) => journal !== null)
    .map(({ journal, isAssociated }) => ({ extent: journal!, isAssociated }));
  for (const extent of epoch.flagsExtents.splice(0)) retired.push({ extent, isAssociated: true });
  if (retired.length > 0) await retire(state.context, retired, { toPool });
}

function resultOf(hardened: Hardened | null): CommitResult {
  const none = { swappedExtents: 0, committedExtents: 0, copiedBlocks: 0, copiedHomeBlocks: 0 };
  if (hardened === null)
    return { transaction: null, extents: 0, writtenBlocks: 0, clearedBlocks: 0, isComplete: true, ...none };
  const { epoch, extents, writtenBlocks, clearedBlocks, done } = hardened;
  const { completed, transaction } = epoch;
  const isComplete = done === null || completed.swappedExtents + completed.committedExtents === extents;
  const soFar = isComplete ? completed : none;
  return { transaction, extents, writtenBlocks, clearedBlocks, isComplete, ...soFar };
}
