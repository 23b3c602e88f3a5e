/**
 * Copy-on-write in memory over a device that is only read: a log can be replayed and its outcome looked at
 * without a byte written to the images.
 *
 * Invariants
 * - The base is never written, trimmed or flushed.
 * - `covered` are the ranges whose content is in memory (zeroes where the memory has no page); all else is
 *   the base's.
 */
import { allEnded } from './all-ended.js';
import { byteLength, sliceBuffers } from './buffers.js';
import { CallGuard } from './call-guard.js';
import type { BlockDevice, Buffers, Extent } from './contract.js';
import { ExtentList } from './extent-list.js';
import { RangeSet } from './range-set.js';
import { SparseMemory } from './sparse-memory.js';

/** A part of a range, and which side holds it. */
interface Part {
  readonly offset: number;
  readonly length: number;
  readonly covered: boolean;
}

export interface OverlayOptions {
  readonly name?: string;
  /** Whether closing the overlay closes the base. It does unless said otherwise. */
  readonly closeBase?: boolean;
}

export class OverlayDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly = false;
  readonly #base: BlockDevice;
  readonly #closeBase: boolean;
  readonly #memory: SparseMemory;
  readonly #covered = new RangeSet();
  readonly #guard: CallGuard;

  constructor(base: BlockDevice, options: OverlayOptions = {}) {
    this.#base = base;
    this.#closeBase = options.closeBase ?? true;
    this.name = options.name ?? base.name;
    this.size = base.size;
    this.blockSize = base.blockSize;
    this.#memory = new SparseMemory(base.blockSize);
    this.#guard = new CallGuard(this);
  }

  /** Bytes that differ, or may differ, from the base. */
  get changedBytes(): number {
    return this.#covered.totalBytes;
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, async () => {
      const fromBase: Promise<void>[] = [];
      for (const part of this.#parts(offset, length)) {
        const at = part.offset - offset;
        if (part.covered) this.#memory.read(part.offset, part.length, into, at);
        else fromBase.push(this.#base.read(part.offset, sliceBuffers(into, at, part.length)));
      }
      // Every part has ended before the call does: until then the buffers are in use.
      await allEnded(fromBase);
    });
  }

  write(offset: number, from: Buffers): Promise<void> {
    const length = byteLength(from);
    return this.#guard.run('write', offset, length, async () => {
      this.#memory.write(offset, length, from);
      this.#covered.add(offset, offset + length);
    });
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, async () => this.#zero(offset, length));
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, async () => this.#zero(offset, length));
  }

  flush(): Promise<void> {
    return this.#guard.flush(async () => {});
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], async () => {
      const list = new ExtentList();
      for (const part of this.#parts(offset, length)) {
        if (part.covered) this.#memory.extents(part.offset, part.length, list);
        else list.addAll(await this.#base.extents(part.offset, part.length));
      }
      return list.list();
    });
  }

  close(): Promise<void> {
    return this.#guard.close(async () => {
      if (this.#closeBase) await this.#base.close();
    });
  }

  #zero(offset: number, length: number): void {
    this.#memory.zero(offset, length);
    this.#covered.add(offset, offset + length);
  }

  #parts(offset: number, length: number): Part[] {
    const end = offset + length;
    const parts: Part[] = [];
    let at = offset;
    for (const { start, end: stop } of this.#covered.within(offset, end)) {
      if (at < start) parts.push({ offset: at, length: start - at, covered: false });
      parts.push({ offset: start, length: stop - start, covered: true });
      at = stop;
    }
    if (at < end) parts.push({ offset: at, length: end - at, covered: false });
    return parts;
  }
}
