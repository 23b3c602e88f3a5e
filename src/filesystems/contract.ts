/**
 * Which bytes of a raw device are in use, for who copies a device and may leave out the rest: what is asked, and answered.
 *
 * Invariants
 * - What is not understood is in use. Nothing is called free but by a filesystem that has been checked; what is checked,
 *   and what cannot be, stands at the head of ext/index.ts.
 * - Nothing is written.
 */
import type { RangeSet } from '../device/range-set.js';

/** One thing that was recognised on the device, for people and for JSON. */
export interface Found {
  /** `mbr` and `gpt` are tables, `ext2` to `ext4` are read, others are only named; `unknown` is anything else. */
  readonly kind: string;
  /** On the device. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly uuid: string | null;
  readonly label: string | null;
  /** What of it is counted as used, holes and all. Of a table: what is in none of its partitions. */
  readonly usedBytes: number;
  /** Its journal holds what is not in its place yet: it is mounted, or was not unmounted. It was read with the journal over it. */
  readonly needsRecovery: boolean;
  /** The last transaction that the journal holds whole, where it needs recovery. */
  readonly committedSequence: number | null;
  /** Whether what it calls free was taken for free. */
  readonly isTrusted: boolean;
  /** Why it was not; a sentence without its full stop. */
  readonly why: string | null;
}

export interface UsedRanges {
  /** In bytes of the device. */
  readonly ranges: RangeSet;
  /** Exactly what was read to find it. */
  readonly readBytes: number;
  readonly found: readonly Found[];
}

export interface UsedRangesOptions {
  /**
   * What the device itself calls a hole, or allocated zeroes, inside of what is used. `left-out` (so it is unless said
   * otherwise) is for a copy onto what reads as zeroes everywhere; `counted` for one onto what may hold anything.
   */
  readonly holes?: 'left-out' | 'counted';
}

/** A part of the device that is judged by itself. */
export interface Region {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** What is on a device cannot be believed; its message says why. All of it then counts as used. */
export class Untrusted extends Error {
  constructor(
    why: string,
    /** It may be that it was changed while it was read: another look may end better. */
    readonly mayHaveMoved = false,
  ) {
    super(why);
    this.name = 'Untrusted';
  }
}
