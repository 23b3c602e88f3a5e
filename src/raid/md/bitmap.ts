/**
 * The array's internal write-intent bitmap: the union of its members' copies, what of it is set, and which
 * pages have to be written where. When they are written is the array's business.
 *
 * Invariants
 * - A write to data needs its bit set and durable on all members first; so each copy names all that was
 *   begun, and copies differ only by a crash while bits were being set or cleared. A copy that cannot be used
 *   takes nothing away as long as there is a good one.
 * - A copy with fewer events than the array, or that says it is stale, missed writes: then every bit counts
 *   as set (Linux drivers/md/md-bitmap.c, md_bitmap_read_sb).
 * - Pages are the same on all members, and their last is cut at the last sector with a bit: behind it begins
 *   what belongs to others.
 */
import type { Range } from '../../device/range-set.js';
import type { BitmapCopy } from './bitmap-copy.js';
import { BITMAP_STATE, BITMAP_SUPERBLOCK } from './fields-logs.js';
import type { Superblock } from './model.js';

const PAGE_BYTES = 4096;
const BITS_AT = BITMAP_SUPERBLOCK.sizeBytes;

/** A piece of the bitmap that changed. */
export interface BitmapPage {
  /** From where the bitmap starts. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What a bitmap is read for. */
export interface BitmapOf {
  /** The array's, of the freshest superblock. */
  readonly events: bigint;
  /** Whole chunks. */
  readonly memberSizeBytes: number;
}

/** Where a page lies in a member's image. */
export function pageOffset(superblock: Superblock, page: BitmapPage): number {
  if (superblock.bitmapOffset === null) throw new Error('this member has no bitmap');
  return superblock.bitmapOffset + page.offset;
}

export class WriteIntentBitmap {
  readonly chunkBytes: number;
  readonly bits: number;
  /** Why all bits count as set, or null where the bits are what was read. */
  readonly distrusted: string | null;
  private readonly raw: Uint8Array;
  private readonly changed = new Set<number>();

  /** Of in-sync members, at least one. */
  constructor(
    copies: readonly BitmapCopy[],
    private readonly of: BitmapOf,
  ) {
    const newest = copies.reduce((best, copy) => (copy.events > best.events ? copy : best));
    this.chunkBytes = newest.chunkBytes;
    this.bits = newest.bits;
    this.raw = newest.raw.slice();
    this.distrusted = reasonForAll(copies, newest, of.events);
    if (this.distrusted !== null) this.raw.fill(0xff, BITS_AT);
    else for (const copy of copies) this.unite(copy);
  }

  get events(): bigint {
    return BITMAP_SUPERBLOCK.at(this.raw).big('events');
  }

  get eventsCleared(): bigint {
    return BITMAP_SUPERBLOCK.at(this.raw).big('events_cleared');
  }

  /** What takes room in the image, from the bitmap's start. */
  get lengthBytes(): number {
    return this.raw.byteLength;
  }

  get isClear(): boolean {
    return this.dirtyRanges().length === 0;
  }

  /** In data, joined, not beyond what of a member is used. */
  dirtyRanges(): Range[] {
    const ranges: Range[] = [];
    for (let bit = 0; bit < this.bits; bit++) {
      if (!this.isSet(bit)) continue;
      let end = bit + 1;
      while (end < this.bits && this.isSet(end)) end++;
      ranges.push({
        start: bit * this.chunkBytes,
        end: Math.min(end * this.chunkBytes, this.of.memberSizeBytes),
      });
      bit = end;
    }
    return ranges;
  }

  /** Sets the bits of all that [start, end) in data touches. False: they were set, nothing has to be written. */
  setRange(start: number, end: number): boolean {
    return this.change(Math.floor(start / this.chunkBytes), Math.ceil(end / this.chunkBytes), true);
  }

  /** Clears the bits of what lies wholly within [start, end) in data. */
  clearRange(start: number, end: number): boolean {
    const last = end >= this.of.memberSizeBytes ? this.bits : Math.floor(end / this.chunkBytes);
    return this.change(Math.ceil(start / this.chunkBytes), last, false);
  }

  clearAll(): boolean {
    return this.change(0, this.bits, false);
  }

  /**
   * What its superblock says from now on. The state no longer says stale: after a distrusted bitmap was read,
   * all pages must be durable before the one with these events is written.
   */
  setEvents(events: bigint, eventsCleared: bigint): void {
    const view = BITMAP_SUPERBLOCK.at(this.raw);
    view.setBig('events', events);
    view.setBig('events_cleared', eventsCleared);
    view.setNumber('state', (view.number('state') & ~(BITMAP_STATE.stale | BITMAP_STATE.writeError)) >>> 0);
    this.changed.add(0);
  }

  /** Writes all of it anew: copies differ, are new, or a write failed. */
  markAllChanged(): void {
    for (let page = 0; page * PAGE_BYTES < this.raw.byteLength; page++) this.changed.add(page);
  }

  /** The pages that changed since the last call, as copies. If one cannot be written: markAllChanged. */
  takeChangedPages(): BitmapPage[] {
    const pages = [...this.changed].sort((a, b) => a - b);
    this.changed.clear();
    return pages.map((page) => {
      const offset = page * PAGE_BYTES;
      return { offset, bytes: this.raw.slice(offset, offset + PAGE_BYTES) };
    });
  }

  private unite(copy: BitmapCopy): void {
    for (let at = BITS_AT; at < this.raw.byteLength; at++) this.raw[at]! |= copy.raw[at] ?? 0;
  }

  private isSet(bit: number): boolean {
    return (this.raw[BITS_AT + (bit >>> 3)]! & (1 << (bit & 7))) !== 0;
  }

  private change(first: number, end: number, value: boolean): boolean {
    let any = false;
    for (let bit = Math.max(0, first); bit < Math.min(end, this.bits); bit++) {
      if (this.isSet(bit) === value) continue;
      const at = BITS_AT + (bit >>> 3);
      this.raw[at]! ^= 1 << (bit & 7);
      this.changed.add(Math.floor(at / PAGE_BYTES));
      any = true;
    }
    return any;
  }
}

function reasonForAll(copies: readonly BitmapCopy[], newest: BitmapCopy, events: bigint): string | null {
  for (const copy of copies) {
    if (copy.markedStale) return `the bitmap of ${copy.image} says that it is stale`;
    if (copy.events < events)
      return `the bitmap of ${copy.image} has ${copy.events} events, the array ${events}`;
    if (copy.chunkBytes !== newest.chunkBytes)
      return `the bitmap of ${copy.image} has another chunk than the others`;
  }
  return null;
}
