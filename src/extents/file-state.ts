/**
 * What a file that is open consists of: the map that the metadata server has, and over it the epochs that are not done,
 * oldest first. The newest that says something of a block is right: an epoch's buffer, its journal extent, its clearing;
 * then what others hardened; then the data extent where it is used; else zeroes.
 *
 * Invariant: what a block reads as changes by writes, clearings and discarding alone, and these have the block for
 * themselves (`locks`). Sealing, hardening and completion only move it from one source to another, in one turn of the
 * loop each. So what was planned in a turn, under a lock, stays right until the lock is given up, as long as no extent
 * is used anew before reads that have begun have ended (reads.ts).
 */
import type { BlockDevice } from '../device/contract.js';
import { RangeLock } from '../device/range-lock.js';
import { UserError } from '../errors.js';
import { hasBit, union, without } from '../metadata/bits.js';
import type { CompletedExtent } from '../metadata/completion.js';
import type { FileInfo, MappedExtent } from '../metadata/messages.js';
import type { ClientContext } from './context.js';
import type { FileStatistics, OnJournalFull } from './contract.js';
import { Epoch } from './epoch.js';
import { MapCache } from './map-cache.js';

/** Where a block's content is; null: nowhere, it is zeroes. */
export type Source = Uint8Array | { readonly device: BlockDevice; readonly offsetBytes: number } | null;

export type Counts = { -readonly [K in keyof FileStatistics]: number };

function noCounts(): Counts {
  return {
    commits: 0,
    earlyCommits: 0,
    writtenBlocks: 0,
    deviceWrites: 0,
    copiedBlocks: 0,
    copiedHomeBlocks: 0,
    swappedExtents: 0,
    committedExtents: 0,
    movedJournalExtents: 0,
  };
}

export class FileState {
  readonly file: number;
  readonly locks = new RangeLock();
  readonly map: MapCache;
  readonly counts = noCounts();
  current: Epoch;
  /** Sealed and not done, oldest first. */
  sealed: Epoch[] = [];
  /** Of the last commit point. */
  committedSizeBytes: number;
  /** The metadata server has a size that is kept with what is not committed. */
  hasKeptSize = false;
  /** What made a commit fail: nothing is written any more, what is on disk is the last commit point. */
  failed: UserError | null = null;
  /** Buffers are to be written out when they are so old (write-behind.ts). */
  isAging = false;
  isClosed = false;
  /** The metadata server may have committed, or keep, what is to be given up, and nobody knows: it stays as it is there. */
  isInDoubt = false;
  isWritable = false;
  onJournalFull: OnJournalFull;
  /** Commits what was acknowledged so far (commits.ts). */
  commitEarly: () => Promise<void> = async () => {};
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    readonly context: ClientContext,
    readonly info: FileInfo,
    public name: string,
  ) {
    this.file = info.file;
    this.committedSizeBytes = info.sizeBytes;
    this.map = new MapCache(context.session, context.client, info.file);
    this.current = this.newEpoch();
    this.onJournalFull = context.settings.onJournalFull;
  }

  newEpoch(): Epoch {
    return new Epoch(this.context.shape.blocksPerExtent, this.context.memory);
  }

  /**
   * One after another: commits, and what must not meet one. Who has blocks locked may wait here; who is here locks
   * none.
   */
  inTurn<T>(body: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(body);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** With these bytes, whole blocks, for itself, or shared with other readers; first come, first served. */
  async locked<T>(start: number, end: number, isExclusive: boolean, body: () => Promise<T>): Promise<T> {
    const claim = this.locks.enter(start, end, isExclusive);
    try {
      if (claim.blocked) await claim.turn();
      return await body();
    } finally {
      this.locks.leave(claim);
    }
  }

  /** Throws what keeps the file from being written. */
  check(): void {
    this.context.session.check();
    if (this.failed !== null) throw this.failed;
  }

  /** Sealed, and their commit has not begun to count, oldest first. */
  get unhardened(): Epoch[] {
    return this.sealed.filter(({ transaction }) => transaction === null);
  }

  get sizeBytes(): number {
    if (this.current.sizeBytes !== null) return this.current.sizeBytes;
    // What is hardened is in the committed size: an older one that is not done says nothing any more.
    const sized = this.sealed.findLast((epoch) => epoch.sizeBytes !== null && epoch.transaction === null);
    return sized?.sizeBytes ?? this.committedSizeBytes;
  }

  /** All of these places can be looked at, in this turn. */
  isReady(first: number, last: number): boolean {
    for (let index = first; index <= last; index++) if (this.map.peek(index) === null) return false;
    return true;
  }

  /** Loads what is missing of them; whether they are ready is to be asked again in the turn in which they are used. */
  async load(first: number, last: number): Promise<void> {
    for (let index = first; index <= last; index++)
      if (this.map.peek(index) === null) await this.map.load(index);
  }

  /** Of a place that is ready. */
  sourceOf(index: number, block: number, mapped: MappedExtent): Source {
    for (let at = this.sealed.length; at >= 0; at--) {
      const epoch = at === this.sealed.length ? this.current : this.sealed[at]!;
      const place = epoch.places.get(index);
      if (place === undefined) continue;
      if (hasBit(place.marked, block)) {
        return place.buffers.get(block)?.bytes ?? this.#at(place.journal!, block);
      }
      if (hasBit(place.cleared, block)) return null;
    }
    for (let at = mapped.pending.length - 1; at >= 0; at--) {
      const { journal, marked, cleared } = mapped.pending[at]!;
      if (hasBit(marked, block)) return this.#at(journal!, block);
      if (hasBit(cleared, block)) return null;
    }
    return hasBit(mapped.used, block) ? this.#at(mapped.extent!, block) : null;
  }

  /** Blocks of a place that is ready that may be other than zeroes. */
  contentOf(index: number): Uint8Array {
    const mapped = this.map.peek(index)!;
    let content = mapped.used;
    for (const { marked, cleared } of mapped.pending) content = union(without(content, cleared), marked);
    for (const epoch of [...this.sealed, this.current]) {
      const place = epoch.places.get(index);
      if (place !== undefined) content = union(without(content, place.cleared), place.marked);
    }
    return content;
  }

  /** An extent of a transaction is done: the map has it from now on. */
  extentDone(done: CompletedExtent): void {
    this.map.done(done);
    const epoch = this.sealed.find(({ transaction }) => transaction === done.transaction);
    epoch?.places.delete(done.entry.index);
    if (epoch?.places.size === 0) this.sealed = this.sealed.filter((one) => one !== epoch);
    const { decision, copiedBlocks } = done;
    for (const counts of [this.counts, epoch?.completed]) {
      if (counts === undefined) continue;
      if (decision === 'swap') {
        counts.swappedExtents += 1;
        counts.copiedBlocks += copiedBlocks;
      } else {
        counts.committedExtents += 1;
        counts.copiedHomeBlocks += copiedBlocks;
      }
    }
  }

  fail(cause: unknown): UserError {
    const { name } = this;
    const why = cause instanceof Error ? cause.message : String(cause);
    const { code, hint, details } =
      cause instanceof UserError ? cause : { code: 'IO_ERROR' as const, hint: undefined, details: {} };
    this.failed ??= new UserError(
      code,
      `${name}: what was written since the last commit could not be committed: ${why}`,
      {
        hint: hint ?? 'Close the file and open it again: it is as of its last commit.',
        details: { ...details, file: name },
        cause,
      },
    );
    return this.failed;
  }

  #at(extent: number, block: number): { device: BlockDevice; offsetBytes: number } {
    const { pool, shape } = this.context;
    const { device, offsetBytes } = pool.locate(extent);
    return { device, offsetBytes: offsetBytes + block * shape.blockBytes };
  }
}
