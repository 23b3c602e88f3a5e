/**
 * A write-back cache over a block device: any byte range is taken, small writes are gathered into full
 * stripes, and reads are kept. Its promise is that of a disk: what is not flushed may be lost, what is
 * flushed is not.
 *
 * How the work is divided: block-store.ts knows what is in memory, cached-reads.ts and fills.ts bring
 * blocks in, write-back.ts takes them out, frame-budget.ts makes those wait for whom there is no room. A call
 * is split into pieces of blocks (pieces.ts); each piece is placed in one synchronous step. Long ones pass the cache
 * by (beside.ts).
 *
 * Invariants
 * - A read sees the newest write: of bytes that are valid in the cache, the cache's; nothing stale ever gets
 *   into it (fills.ts).
 * - Below, writes that overlap are never in flight together, nor with a read (cache-block.ts).
 * - Memory is bounded by `capacityBytes`, dirty memory by `dirtyLimitBytes`.
 * - A block that failed to go down stays dirty. Only a failed flush of the lower device is final.
 */
import { adviseWrite } from '../advice.js';
import { byteLength, Gathering, sliceBuffers } from '../buffers.js';
import { CallGuard } from '../call-guard.js';
import type {
  AdvisedDevice,
  BatchDevice,
  BlockDevice,
  Buffers,
  Extent,
  PromptDevice,
  WriteOptions,
} from '../contract.js';
import { toDeviceError } from '../device-errors.js';
import { ExtentList } from '../extent-list.js';
import { type Arena, BufferPool, type PoolBuffer } from '../pool.js';
import { RangeSet } from '../range-set.js';
import { SharedFlush } from '../shared-flush.js';
import { Beside } from './beside.js';
import { BlockStore } from './block-store.js';
import { CACHE_BLOCK_BYTES } from './cache-block.js';
import { type CacheOptions, planCache } from './cache-plan.js';
import { CachedReads } from './cached-reads.js';
import { Fills } from './fills.js';
import { cutIntoPieces, type Piece, piecesOutside, wholeBlocks } from './pieces.js';
import { WriteBack } from './write-back.js';

export interface CacheStatistics {
  /** Blocks of 4 KiB, once for every read that touches them. */
  readonly hits: number;
  readonly misses: number;
  readonly cachedBytes: number;
  /** Dirty, or on its way down. */
  readonly dirtyBytes: number;
  /** Handed down since the start: batches, runs of bytes in them, their bytes, and full stripes among them. */
  readonly batches: number;
  readonly writes: number;
  readonly bytes: number;
  readonly fullStripes: number;
}

export class WriteBackCache implements PromptDevice, AdvisedDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize = 1;
  readonly readOnly: boolean;
  readonly #lower: BlockDevice | BatchDevice;
  readonly #guard: CallGuard;
  readonly #arena: Arena;
  readonly #slab: PoolBuffer;
  readonly #store: BlockStore;
  readonly #reads: CachedReads;
  readonly #writeBack: WriteBack;
  readonly #beside: Beside;
  readonly #passDownBytes: number;
  readonly #closesLower: boolean;
  readonly #writesThrough: () => boolean;
  readonly #lowerFlush = new SharedFlush(() => this.#flushLower());
  readonly #flush = new SharedFlush(async () => {
    await this.#writeBack.drain();
    await this.#lowerFlush.run();
  });

  /** @throws UserError REFUSED when the pool has not that much memory left. */
  constructor(lower: BlockDevice | BatchDevice, options: CacheOptions) {
    const plan = planCache(lower, options);
    this.#lower = lower;
    this.name = lower.name;
    this.size = lower.size;
    this.readOnly = lower.readOnly;
    this.#guard = new CallGuard(this);
    this.#arena = BufferPool.shared().arena(`cache of ${lower.name}`, plan.capacityBytes);
    this.#slab = this.#arena.tryAcquire(plan.capacityBytes)!;
    this.#store = new BlockStore({ ...plan, size: lower.size, slab: this.#slab.bytes });
    const fills = new Fills(lower, this.#store, () => this.#writeBack.kick());
    this.#writeBack = new WriteBack(lower, this.#store, fills, plan);
    this.#reads = new CachedReads(this.#store, fills, plan.readChunkBlocks);
    this.#passDownBytes = plan.stripeBytes;
    this.#beside = new Beside({
      ...plan,
      lower,
      store: this.#store,
      kick: () => this.#writeBack.kick(),
    });
    this.#closesLower = options.closeLower ?? true;
    this.#writesThrough = options.writesThrough ?? (() => false);
  }

  get statistics(): CacheStatistics {
    return {
      ...this.#reads.counts,
      ...this.#writeBack.counts,
      cachedBytes: this.#store.count * CACHE_BLOCK_BYTES,
      dirtyBytes: this.#store.budget.dirty * CACHE_BLOCK_BYTES,
    };
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, async () => {
      if (this.#beside.isLong(length) && (await this.#beside.read(offset, into))) {
        this.#reads.counts.misses += Math.ceil(length / CACHE_BLOCK_BYTES);
        return;
      }
      await this.#reads.read(cutIntoPieces(offset, length), into);
    });
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const length = byteLength(from);
    return this.#guard.run('write', offset, length, async () => {
      const fua = this.#isDurable(options);
      const beside = this.#beside.wholeStripes(offset, length);
      const pieces = piecesOutside(beside, offset, length);
      const data = new Gathering(from);
      await this.#place(pieces, (piece, frame) => data.copy(piece.at, frame));
      if (beside !== null) {
        await this.#beside.change(beside, (at, bytes) =>
          this.#lower.write(at, sliceBuffers(from, at - offset, bytes), { fua }),
        );
      }
      if (fua) await this.#harden(pieces);
    });
  }

  readNow(offset: number, into: Uint8Array): boolean {
    const length = into.byteLength;
    return (
      this.#guard.admits('read', offset, length) && this.#reads.readNow(cutIntoPieces(offset, length), into)
    );
  }

  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    if (!this.#guard.admits('write', offset, length) || this.#beside.isLong(length)) return false;
    if (this.#writesThrough()) return false;
    const data = new Gathering(from);
    const isPlaced = cutIntoPieces(offset, length).every((piece) =>
      this.#tryPlace(piece, (into, frame) => data.copy(into.at, frame)),
    );
    this.#writeBack.kick();
    return isPlaced;
  }

  willWrite(offset: number, length: number): void {
    adviseWrite(this.#lower, offset, length);
  }

  /** Less than a stripe is zeroed in the cache, where it gathers; of more, the whole blocks go down at once. */
  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, async () => {
      const fua = this.#isDurable(options);
      const whole = wholeBlocks(offset, length, this.size);
      const isLong = (whole.end - whole.first) * CACHE_BLOCK_BYTES >= this.#passDownBytes;
      const pieces = piecesOutside(isLong ? whole : null, offset, length);
      await this.#place(pieces, (_piece, frame) => frame.fill(0));
      if (isLong)
        await this.#beside.change(whole, (from, bytes) => this.#lower.writeZeroes(from, bytes, { fua }));
      if (fua) await this.#harden(pieces);
    });
  }

  /** Whole blocks alone; what is dirty of them is forgotten. */
  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, async () => {
      const whole = wholeBlocks(offset, length, this.size);
      if (whole.first < whole.end)
        await this.#beside.change(whole, (from, bytes) => this.#lower.trim(from, bytes));
    });
  }

  /** Fails while something cannot be written back, which stays dirty and is tried again by the next flush. */
  flush(): Promise<void> {
    return this.#guard.flush(
      () => (this.readOnly ? Promise.resolve() : this.#flush.run()),
      () => false,
    );
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], async () => {
      const { blockSize } = this.#lower;
      const start = offset - (offset % blockSize);
      const end = Math.ceil((offset + length) / blockSize) * blockSize;
      // Before and after the question: a block that goes down meanwhile is in the answer or in the cache.
      const data = new RangeSet();
      this.#addDirty(data, offset, length);
      const below = await this.#lower.extents(start, end - start);
      this.#addDirty(data, offset, length);
      return overlaid(below, data, offset, offset + length);
    });
  }

  close(): Promise<void> {
    return this.#guard.close(async () => {
      await this.#writeBack.stopped();
      this.#slab.release();
      this.#arena.close();
      if (this.#closesLower) await this.#lower.close();
    });
  }

  #isDurable({ fua = false }: WriteOptions): boolean {
    return fua || this.#writesThrough();
  }

  async #place(pieces: readonly Piece[], fill: (piece: Piece, frame: Uint8Array) => void): Promise<void> {
    for (const piece of pieces) {
      if (!this.#tryPlace(piece, fill)) await this.#placeWhenThereIsRoom(piece, fill);
    }
    this.#writeBack.kick();
  }

  #tryPlace(piece: Piece, fill: (piece: Piece, frame: Uint8Array) => void): boolean {
    if (this.#writeObstacle(piece.index) !== null) return false;
    const frame = this.#needsFrame(piece.index) ? this.#store.budget.tryTakeDirty() : undefined;
    if (frame === null) return false;
    this.#store.write(piece.index, piece.start, piece.end, frame ?? null, (into) => fill(piece, into));
    return true;
  }

  async #placeWhenThereIsRoom(piece: Piece, fill: (piece: Piece, frame: Uint8Array) => void): Promise<void> {
    const { budget } = this.#store;
    let frame: Uint8Array | null = null;
    try {
      for (;;) {
        const obstacle = this.#writeObstacle(piece.index);
        const needsFrame = this.#needsFrame(piece.index);
        if (obstacle !== null) await obstacle;
        else if (needsFrame && frame === null) frame = budget.tryTakeDirty() ?? (await this.#waitForFrame());
        else {
          const used = needsFrame ? frame : null;
          if (used !== null) frame = null;
          return this.#store.write(piece.index, piece.start, piece.end, used, (into) => fill(piece, into));
        }
      }
    } finally {
      // Somebody else made the block dirty while we waited.
      if (frame !== null) {
        budget.give([frame]);
        budget.clean();
      }
    }
  }

  #waitForFrame(): Promise<Uint8Array> {
    const frame = this.#store.budget.takeDirty();
    this.#writeBack.kick();
    return frame;
  }

  #needsFrame(index: number): boolean {
    return this.#store.get(index)?.needsDirtyFrame ?? true;
  }

  /** A write waits for a fill (it owns the frame), but not for an older version in flight. */
  #writeObstacle(index: number): Promise<void> | null {
    return this.#store.get(index)?.fill ?? this.#store.locks.obstacle(index);
  }

  async #harden(pieces: readonly Piece[]): Promise<void> {
    const byIndex = new Map(pieces.map((piece) => [piece.index, piece]));
    const isDurable = await this.#writeBack.writeThrough([...byIndex.keys()], (block) => {
      const { start, end } = byIndex.get(block.index)!;
      return block.dirty.covers(start, end);
    });
    if (!isDurable) await this.#lowerFlush.run();
  }

  async #flushLower(): Promise<void> {
    if (this.#guard.final !== null) throw this.#guard.final;
    try {
      await this.#lower.flush();
    } catch (cause) {
      const error = toDeviceError(cause, { device: this.name, operation: 'flush' });
      this.#guard.fail(error);
      throw error;
    }
  }

  #addDirty(data: RangeSet, offset: number, length: number): void {
    if (this.#store.budget.dirty === 0) return;
    const first = Math.floor(offset / CACHE_BLOCK_BYTES);
    const end = Math.ceil((offset + length) / CACHE_BLOCK_BYTES);
    for (const block of this.#store.within(first, end)) {
      const isDirty = !block.dirty.isEmpty || block.flight !== null;
      if (isDirty) data.add(block.offset, block.offset + block.length);
    }
  }
}

/** The extents from below, clipped to [offset, end), with data over them. */
function overlaid(below: readonly Extent[], data: RangeSet, offset: number, end: number): Extent[] {
  const list = new ExtentList();
  for (const extent of below) {
    const stop = Math.min(extent.offset + extent.length, end);
    let at = Math.max(extent.offset, offset);
    for (const range of data.within(at, stop)) {
      list.add(at, range.start - at, extent.kind);
      list.add(range.start, range.end - range.start, 'data');
      at = range.end;
    }
    list.add(at, stop - at, extent.kind);
  }
  return list.list();
}
