/**
 * An epoch: what of a file changes with one commit (data journaling, paragraphs 28, 29 and 52). A file has one *current*
 * epoch, which takes writes; a commit seals it, and the next one begins. A write belongs wholly to one epoch, which is
 * chosen in the same turn of the loop in which all of it is applied: that makes a commit a point in the order of writes.
 *
 * Invariants
 * - A block of a place is marked or cleared or neither. A marked one has its content in a buffer, or else in the
 *   journal extent, at the same place; a dirty buffer is in no journal extent yet.
 * - Buffers are never changed: a later write puts another one in. So one that is on its way to the device stays
 *   what it is.
 * - A place without a journal extent is cleared whole.
 */
import type { SharedFlush } from '../device/shared-flush.js';
import { allBits, clearBit, countBits, hasBit, isEmpty, noBits, setBit } from '../metadata/bits.js';
import type { FlagPlace } from '../metadata/flag-places.js';

/** Memory that buffers of written blocks take, of all files of a store. */
export class WriteMemory {
  dirtyBytes = 0;
  cleanBytes = 0;

  constructor(readonly limitBytes: number) {}

  get isOverLimit(): boolean {
    return this.dirtyBytes > this.limitBytes;
  }
}

export interface BlockBuffer {
  readonly bytes: Uint8Array;
  readonly isDirty: boolean;
}

/** An extent of the file, in one epoch. */
export class Place {
  marked: Uint8Array;
  cleared: Uint8Array;
  journal: number | null = null;
  isAssociated = false;
  /** The target of the journal extent has failed: another one is needed before anything is written (paragraph 51). */
  isLost = false;
  readonly buffers = new Map<number, BlockBuffer>();
  /** Blocks of which a buffer is on its way to the journal extent, whether it still counts or not. */
  readonly leaving = new Set<number>();
  /** Device writes that pass by the buffers, and associating: a commit waits for them. */
  readonly writes = new Set<Promise<unknown>>();

  constructor(
    readonly index: number,
    readonly blocks: number,
    private readonly memory: WriteMemory,
  ) {
    this.marked = noBits(blocks);
    this.cleared = noBits(blocks);
  }

  get isEmpty(): boolean {
    return isEmpty(this.marked) && isEmpty(this.cleared);
  }

  get isCleared(): boolean {
    return isEmpty(this.marked) && countBits(this.cleared) === this.blocks;
  }

  track(write: Promise<unknown>): void {
    this.writes.add(write);
    const forget = () => void this.writes.delete(write);
    write.then(forget, forget);
  }

  /** The block is in a buffer from now on. */
  put(block: number, bytes: Uint8Array): void {
    this.dropBuffer(block);
    this.#keep(block, { bytes, isDirty: true });
    this.#mark(block);
  }

  /** These are written into the journal extent. */
  markWritten(start: number, count: number): void {
    for (let block = start; block < start + count; block++) {
      this.dropBuffer(block);
      this.#mark(block);
    }
  }

  clear(bits: Uint8Array): void {
    for (let block = 0; block < this.blocks; block++) {
      if (!hasBit(bits, block)) continue;
      this.dropBuffer(block);
      clearBit(this.marked, block);
      setBit(this.cleared, block);
    }
  }

  clearAll(): void {
    this.dropBuffers();
    this.marked = noBits(this.blocks);
    this.cleared = allBits(this.blocks);
  }

  /** What was written out, unless another buffer has come in meanwhile. */
  written(block: number, bytes: Uint8Array): void {
    if (this.buffers.get(block)?.bytes !== bytes) return;
    this.dropBuffer(block);
    this.#keep(block, { bytes, isDirty: false });
  }

  /** The journal extent has nothing of what is in buffers. */
  dirtyAll(): void {
    for (const [block, { bytes }] of [...this.buffers]) {
      this.dropBuffer(block);
      this.#keep(block, { bytes, isDirty: true });
    }
  }

  dropBuffer(block: number): void {
    const buffer = this.buffers.get(block);
    if (buffer === undefined) return;
    this.buffers.delete(block);
    if (buffer.isDirty) this.memory.dirtyBytes -= buffer.bytes.byteLength;
    else this.memory.cleanBytes -= buffer.bytes.byteLength;
  }

  dropBuffers(which: 'all' | 'clean' = 'all'): void {
    for (const [block, { isDirty }] of [...this.buffers])
      if (which === 'all' || !isDirty) this.dropBuffer(block);
  }

  /** What passes by the buffers must wait: a buffer is to be written there, or is being written. */
  hasUnwritten(start: number, count: number): boolean {
    for (let block = start; block < start + count; block++)
      if (this.leaving.has(block) || this.buffers.get(block)?.isDirty === true) return true;
    return false;
  }

  #keep(block: number, buffer: BlockBuffer): void {
    this.buffers.set(block, buffer);
    if (buffer.isDirty) this.memory.dirtyBytes += buffer.bytes.byteLength;
    else this.memory.cleanBytes += buffer.bytes.byteLength;
  }

  #mark(block: number): void {
    setBit(this.marked, block);
    clearBit(this.cleared, block);
  }
}

export class Epoch {
  readonly places = new Map<number, Place>();
  /** null: the file has the size that it had. */
  sizeBytes: number | null = null;
  /** Where its flags are kept, whole: it would come back (see keeping.ts). */
  keptIn: FlagPlace | null = null;
  /** Journal extents that hold flags of it (flags/data.ts), whether they count or not. */
  readonly flagsExtents: number[] = [];
  /** That is being taken away. */
  withdrawing: Promise<void> | null = null;
  /** Hardened. */
  transaction: number | null = null;
  /** Passes that write its buffers out, one at a time (write-out.ts). */
  passes: SharedFlush | null = null;
  /** The last one that has begun. */
  pass: Promise<void> = Promise.resolve();
  /** Of what is done of it. */
  readonly completed = { swappedExtents: 0, committedExtents: 0, copiedBlocks: 0, copiedHomeBlocks: 0 };

  constructor(
    private readonly blocks: number,
    private readonly memory: WriteMemory,
  ) {}

  get isKept(): boolean {
    return this.keptIn !== null;
  }

  get isEmpty(): boolean {
    if (this.sizeBytes !== null) return false;
    for (const place of this.places.values()) if (!place.isEmpty) return false;
    return true;
  }

  place(index: number): Place {
    const found = this.places.get(index);
    if (found !== undefined) return found;
    const place = new Place(index, this.blocks, this.memory);
    this.places.set(index, place);
    return place;
  }

  /** Ends when no device write of it is under way any more; of those that have begun by now. */
  async writesEnded(): Promise<void> {
    const writes = [...this.places.values()].flatMap((place) => [...place.writes]);
    await Promise.allSettled([...writes, this.pass]);
  }

  dropBuffers(which: 'all' | 'clean' = 'all'): void {
    for (const place of this.places.values()) place.dropBuffers(which);
  }

  /** Blocks of all places. */
  count(): { marked: number; cleared: number } {
    let marked = 0;
    let cleared = 0;
    for (const place of this.places.values()) {
      marked += countBits(place.marked);
      cleared += countBits(place.cleared);
    }
    return { marked, cleared };
  }
}
