/**
 * Reading through the cache: what is there is copied, what is not is read in first, in runs of blocks that
 * lie together.
 *
 * Invariant: a reader that waits for frames holds no block, so it cannot be what others wait for.
 */
import { scatter, viewOf } from '../buffers.js';
import type { Buffers } from '../contract.js';
import type { BlockStore } from './block-store.js';
import type { CacheBlock } from './cache-block.js';
import type { Fills, Wanted } from './fills.js';
import type { Piece } from './pieces.js';

export class CachedReads {
  /** Blocks, counted once for every read that touches them. */
  readonly counts = { hits: 0, misses: 0 };

  constructor(
    private readonly store: BlockStore,
    private readonly fills: Fills,
    /** Blocks that are read in at once; never more than are kept from being dirty. */
    private readonly chunkBlocks: number,
  ) {}

  async read(pieces: readonly Piece[], into: Buffers): Promise<void> {
    if (pieces.length === 1) return this.#readOne(pieces[0]!, into);
    for (let from = 0; from < pieces.length; from += this.chunkBlocks) {
      const chunk = pieces.slice(from, from + this.chunkBlocks);
      const missing = this.#copy(chunk, into);
      this.counts.hits += chunk.length - missing.length;
      this.counts.misses += missing.length;
      if (missing.length > 0) await this.#readMissing(missing, into);
    }
  }

  /** Copies what is all there; false: some of it is not, and nothing was done. */
  readNow(pieces: readonly Piece[], into: Uint8Array): boolean {
    if (!pieces.every((piece) => this.#isHere(piece))) return false;
    this.counts.hits += pieces.length;
    for (const piece of pieces) this.#copyFrom(this.store.get(piece.index)!, piece, into);
    return true;
  }

  #isHere({ index, start, end }: Piece): boolean {
    return this.store.get(index)?.valid.covers(start, end) === true;
  }

  /** The same for one block, which most reads are: nobody has it in hand, and there is a frame. */
  async #readOne(piece: Piece, into: Buffers): Promise<void> {
    const { index, start, end } = piece;
    const found = this.store.get(index);
    if (found?.valid.covers(start, end) === true) {
      this.counts.hits += 1;
      return this.#copyFrom(found, piece, into);
    }
    this.counts.misses += 1;
    const isFree = found === undefined && this.store.locks.obstacle(index) === null;
    const frames = isFree ? this.store.budget.tryTake(1) : null;
    if (frames === null) return this.#readMissing([piece], into);
    const block = this.store.insert(index, frames[0]!);
    block.pins += 1;
    let left: readonly Piece[] = [piece];
    try {
      await this.fills.run([{ block, start, end }]);
      // A trim may have dropped it in the same moment.
      left = this.#copy(left, into);
    } finally {
      block.pins -= 1;
      this.store.settle(block);
    }
    if (left.length > 0) await this.#readMissing(left, into);
  }

  async #readMissing(pieces: readonly Piece[], into: Buffers): Promise<void> {
    const { budget } = this.store;
    let spare: Uint8Array[] = [];
    try {
      for (let left = pieces; left.length > 0; left = this.#copy(left, into)) {
        const waits = left.flatMap((piece) => this.#obstacle(piece) ?? []);
        const free = left.filter((piece) => this.#obstacle(piece) === null);
        const wanted = free.filter(({ index }) => this.store.get(index) === undefined).length;
        if (wanted > spare.length) {
          // All or nothing: who kept some while waiting for more could be what others wait for.
          budget.give(spare);
          spare = [];
          spare = budget.tryTake(wanted) ?? (await budget.take(wanted));
          // Look again: time may have passed, and a block that was there may have been evicted for this.
          continue;
        }
        if (free.length > 0) left = await this.#fill(free, left, spare, into);
        else await Promise.all(waits);
      }
    } finally {
      budget.give(spare);
    }
  }

  /** Reads in what `free` wants and copies it; returns what of `left` is left then. */
  async #fill(
    free: readonly Piece[],
    left: readonly Piece[],
    spare: Uint8Array[],
    into: Buffers,
  ): Promise<readonly Piece[]> {
    const wanted = free.map(({ index, start, end }): Wanted => {
      const block = this.store.get(index) ?? this.store.insert(index, spare.pop()!);
      block.pins += 1;
      return { block, start, end };
    });
    try {
      const outcomes = await Promise.allSettled(consecutive(wanted).map((run) => this.fills.run(run)));
      const rest = this.#copy(left, into);
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      return rest;
    } finally {
      for (const { block } of wanted) {
        block.pins -= 1;
        this.store.settle(block);
      }
    }
  }

  /** Copies the pieces that are valid in the cache; returns the others. */
  #copy(pieces: readonly Piece[], into: Buffers): readonly Piece[] {
    return pieces.filter((piece) => {
      const block = this.store.get(piece.index);
      if (block === undefined || !block.valid.covers(piece.start, piece.end)) return true;
      this.#copyFrom(block, piece, into);
      return false;
    });
  }

  #copyFrom(block: CacheBlock, { start, end, at }: Piece, into: Buffers): void {
    scatter(viewOf(block.frame, start, end), into, at);
    this.store.settle(block);
  }

  #obstacle({ index }: Piece): Promise<void> | null {
    return this.store.get(index)?.obstacle ?? this.store.locks.obstacle(index);
  }
}

function consecutive(wanted: readonly Wanted[]): Wanted[][] {
  const runs: Wanted[][] = [];
  for (const each of wanted) {
    const last = runs.at(-1);
    if (last?.at(-1)?.block.index === each.block.index - 1) last.push(each);
    else runs.push([each]);
  }
  return runs;
}
