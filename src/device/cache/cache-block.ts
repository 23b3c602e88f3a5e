/**
 * One block of the cache: the newest bytes of 4 KiB of the device, as far as they are known.
 *
 * Invariants
 * - dirty is within valid; bytes that are not valid are on the lower device alone.
 * - A frame in flight is never written: a write to its block goes to a copy, and the block's frame is then
 *   the copy. So the version on its way down stays whole, and the newer one goes down after it landed.
 * - While `fill` is set nobody else writes to the frame, and no write of the block is in flight.
 */
import { ByteCover } from './byte-cover.js';

/** Bytes; the last block of a device may be shorter. */
export const CACHE_BLOCK_BYTES = 4096;

/** A version of a block on its way down. */
export interface Flight {
  readonly frame: Uint8Array;
  /** The dirty bytes that it takes. */
  readonly ranges: ByteCover;
  /** Of the oldest write that it carries. */
  readonly since: number;
  /** Ends when it has landed, well or not; never rejects. */
  readonly landed: Promise<void>;
  land(): void;
}

export class CacheBlock {
  readonly valid: ByteCover;
  dirty: ByteCover;
  flight: Flight | null = null;
  /** Ends when a read from the lower device into this block has ended, well or not; never rejects. */
  fill: Promise<void> | null = null;
  /** Readers that are about to copy from it. */
  pins = 0;
  /** Its place in the order of eviction (eviction-order.ts, which alone sets these). */
  isInOrder = false;
  older: CacheBlock | null = null;
  newer: CacheBlock | null = null;

  constructor(
    readonly index: number,
    /** Bytes. */
    readonly length: number,
    /** At least `length` bytes. */
    public frame: Uint8Array,
  ) {
    this.valid = new ByteCover(length);
    this.dirty = new ByteCover(length);
  }

  /** Of its first byte on the device. */
  get offset(): number {
    return this.index * CACHE_BLOCK_BYTES;
  }

  /** A write to it needs a frame that may be written, and counts as one more dirty frame. */
  get needsDirtyFrame(): boolean {
    return this.flight === null ? this.dirty.isEmpty : this.flight.frame === this.frame;
  }

  /** Its content is all on the lower device, and nobody uses it. */
  get isEvictable(): boolean {
    return this.dirty.isEmpty && this.flight === null && this.fill === null && this.pins === 0;
  }

  /** What keeps it from being read from, or written to, the lower device now. */
  get obstacle(): Promise<void> | null {
    return this.fill ?? this.flight?.landed ?? null;
  }
}

/** A promise and what ends it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
