/**
 * Blocks of a filesystem: from its place, or from its journal where committed transactions hold a newer version.
 */
import type { ByteSource } from '../source.js';

/** Newer versions of blocks than those in their places. */
export interface BlockOverlay {
  /** The numbers from `first` on that have a newer version, ascending. */
  within(first: number, count: number): readonly number[];
  /** Throws Untrusted where it is damaged. */
  read(block: number): Promise<Uint8Array>;
}

/** Blocks that are read with one call. */
const RUN_BYTES = 1024 * 1024;

export class BlockReader {
  constructor(
    private readonly source: ByteSource,
    readonly blockBytes: number,
    private readonly overlay?: BlockOverlay,
  ) {}

  /** A part of one block. */
  async part(block: number, at: number, length: number): Promise<Uint8Array> {
    if (this.overlay === undefined || this.overlay.within(block, 1).length === 0) {
      return this.source.read(block * this.blockBytes + at, length);
    }
    return (await this.overlay.read(block)).subarray(at, at + length);
  }

  /** Blocks that follow one another. */
  async run(first: number, count: number): Promise<Uint8Array> {
    const bytes = await this.source.read(first * this.blockBytes, count * this.blockBytes);
    for (const block of this.overlay?.within(first, count) ?? []) {
      bytes.set(await this.overlay!.read(block), (block - first) * this.blockBytes);
    }
    return bytes;
  }

  /** Each of these blocks, however they lie; those beside one another are read together. */
  async each(blocks: readonly number[]): Promise<Map<number, Uint8Array>> {
    const sorted = [...new Set(blocks)].sort((a, b) => a - b);
    const found = new Map<number, Uint8Array>();
    const most = Math.max(1, Math.floor(RUN_BYTES / this.blockBytes));
    for (let i = 0; i < sorted.length; ) {
      const first = sorted[i]!;
      let count = 1;
      while (count < most && sorted[i + count] === first + count) count += 1;
      const bytes = await this.run(first, count);
      for (let j = 0; j < count; j++) {
        found.set(first + j, bytes.subarray(j * this.blockBytes, (j + 1) * this.blockBytes));
      }
      i += count;
    }
    return found;
  }
}
