/**
 * Reading from the lower device into the cache.
 *
 * Invariants
 * - A block being filled is marked before the read is submitted, so that until it ends nobody writes to the
 *   block, writes it back or trims it below: what arrives is not stale, and reads and writes below never
 *   overlap.
 * - Bytes that were valid before stay: they may be newer than what is below.
 */
import type { BlockDevice } from '../contract.js';
import type { BlockStore } from './block-store.js';
import { type CacheBlock, gate } from './cache-block.js';

/** A block and the bytes of it that are wanted. */
export interface Wanted {
  readonly block: CacheBlock;
  readonly start: number;
  readonly end: number;
}

export class Fills {
  constructor(
    private readonly lower: BlockDevice,
    private readonly store: BlockStore,
    /** Called when blocks are free of a fill again. */
    private readonly onEnd: () => void,
  ) {}

  /**
   * Makes the wanted bytes valid, and all others of their blocks as well if they can be read. The blocks
   * follow one another and have no obstacle.
   */
  run(wanted: readonly Wanted[]): Promise<void> {
    return this.#marked(wanted, async () => {
      try {
        await this.#whole(wanted);
      } catch (error) {
        // One bad sector must not take its neighbours along: what is wanted may be readable by itself.
        if (wanted.length === 1 && this.#isWhole(wanted[0]!)) throw error;
        for (const each of wanted) await this.#part(each);
      }
    });
  }

  /** Makes just the wanted bytes valid, rounded out to blocks of the lower device. */
  exactly(wanted: Wanted): Promise<void> {
    return this.#marked([wanted], () => this.#part(wanted));
  }

  async #marked(wanted: readonly Wanted[], body: () => Promise<void>): Promise<void> {
    const { opened, open } = gate();
    for (const { block } of wanted) block.fill = opened;
    try {
      await body();
    } finally {
      for (const { block } of wanted) {
        block.fill = null;
        this.store.settle(block);
      }
      open();
      this.onEnd();
    }
  }

  async #whole(wanted: readonly Wanted[]): Promise<void> {
    const targets = wanted.map(({ block }) =>
      // A frame with valid bytes in it is not read over; only the missing ones are copied then.
      block.valid.isEmpty ? block.frame.subarray(0, block.length) : new Uint8Array(block.length),
    );
    await this.lower.read(wanted[0]!.block.offset, targets);
    wanted.forEach(({ block }, i) => {
      if (!block.valid.isEmpty) merge(block, targets[i]!, 0);
      block.valid.add(0, block.length);
    });
  }

  async #part({ block, start, end }: Wanted): Promise<void> {
    const { from, to } = roundOut(start, end, this.lower.blockSize);
    if (block.valid.covers(from, to)) return;
    const bytes = new Uint8Array(to - from);
    await this.lower.read(block.offset + from, bytes);
    merge(block, bytes, from);
    block.valid.add(from, to);
  }

  #isWhole({ block, start, end }: Wanted): boolean {
    const { from, to } = roundOut(start, end, this.lower.blockSize);
    return from === 0 && to === block.length;
  }
}

/** Out to whole blocks of the lower device, which divide a block of the cache. */
export function roundOut(start: number, end: number, blockSize: number): { from: number; to: number } {
  return { from: start - (start % blockSize), to: Math.ceil(end / blockSize) * blockSize };
}

/** Copies into the block what it has no valid bytes for; `bytes` start at `at` in the block. */
function merge(block: CacheBlock, bytes: Uint8Array, at: number): void {
  for (const { start, end } of block.valid.gaps(at, at + bytes.byteLength)) {
    block.frame.set(bytes.subarray(start - at, end - at), start);
  }
}
