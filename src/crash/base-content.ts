/**
 * What a device held, where it has been written since: with it and a trace the content of any moment can be had
 * again.
 *
 * Invariants
 * - A range is read before its first write goes down, and never again.
 * - Zeroes cost no memory, and holes are not even read: an image of a terabyte is erased as cheaply as it is made.
 */
import type { BlockDevice } from '../device/contract.js';
import { ExtentList } from '../device/extent-list.js';
import { type Range, RangeSet } from '../device/range-set.js';
import { SparseMemory } from '../device/sparse-memory.js';
import type { BaseReader } from './power-cut.js';

/** Up to here reading is cheaper than to ask where the holes are. */
const SMALL_BYTES = 256 * 1024;
const READ_BYTES = 1024 * 1024;

export class BaseContent implements BaseReader {
  readonly #memory: SparseMemory;
  /** What is known, or being read. */
  readonly #known = new RangeSet();
  readonly #reading = new Map<Range, Promise<void>>();

  constructor(blockSize: number) {
    this.#memory = new SparseMemory(blockSize);
  }

  /** Bytes of memory that it takes. */
  get heldBytes(): number {
    return this.#memory.allocatedBytes;
  }

  /** Reads what is not known of the range. Nothing may write to the range on `device` until this has returned. */
  async keep(device: BlockDevice, offset: number, length: number): Promise<void> {
    const end = offset + length;
    const unknown = this.#known.without(offset, end);
    this.#known.add(offset, end);
    // A second write to the same place waits until the first has read what was there.
    const before = [...this.#reading].filter(([range]) => range.start < end && range.end > offset);
    const own = unknown.map((range) => this.#read(device, range));
    await Promise.all([...before.map(([, done]) => done), ...own]);
  }

  *pieces(offset: number, length: number) {
    for (const { start, end } of this.#known.within(offset, offset + length)) {
      const extents = new ExtentList();
      this.#memory.extents(start, end - start, extents);
      for (const extent of extents.list()) {
        yield { offset: extent.offset, length: extent.length, bytes: this.#bytesOf(extent) };
      }
    }
  }

  #bytesOf({ offset, length, kind }: { offset: number; length: number; kind: string }): Uint8Array | null {
    if (kind === 'hole') return null;
    const bytes = new Uint8Array(length);
    this.#memory.read(offset, length, bytes);
    return bytes;
  }

  async #read(device: BlockDevice, range: Range): Promise<void> {
    const done = this.#copy(device, range);
    this.#reading.set(range, done);
    try {
      await done;
    } catch (error) {
      // What could not be read is not known; the write that wanted it kept fails with this error.
      this.#known.remove(range.start, range.end);
      throw error;
    } finally {
      this.#reading.delete(range);
    }
  }

  async #copy(device: BlockDevice, { start, end }: Range): Promise<void> {
    const length = end - start;
    if (length <= SMALL_BYTES) return this.#copyData(device, start, length);
    for (const extent of await device.extents(start, length)) {
      if (extent.kind === 'data') await this.#copyData(device, extent.offset, extent.length);
    }
  }

  async #copyData(device: BlockDevice, offset: number, length: number): Promise<void> {
    for (let at = 0; at < length; at += READ_BYTES) {
      const bytes = new Uint8Array(Math.min(READ_BYTES, length - at));
      await device.read(offset + at, bytes);
      if (bytes.some((byte) => byte !== 0)) this.#memory.write(offset + at, bytes.byteLength, bytes);
    }
  }
}
