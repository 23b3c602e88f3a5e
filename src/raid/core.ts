/**
 * What the parts of an open array share: its shape, who is in it, what of its parity is not to be trusted,
 * the locks of its windows and its buffers. It decides nothing; reader.ts, writer.ts, the sweeps and
 * metadata.ts do.
 */

import { isNoSpace } from '../device/device-errors.js';
import { type Arena, BufferPool } from '../device/pool.js';
import type { Range, RangeSet } from '../device/range-set.js';
import { UserError } from '../errors.js';
import type { Geometry, Piece } from './geometry.js';
import type { ArrayMember, Slot } from './member.js';
import { WindowLocks } from './window-locks.js';

/** Windows are no higher than this, so that a chunk of 64 MiB does not make one lock of 64 MiB. */
const MAX_WINDOW_BYTES = 128 * 1024;
/** Enough for several groups of the largest kind in flight (see GROUP_BUFFER_BYTES). */
const ARENA_BYTES = 64 * 1024 * 1024;
/** A group of windows that is worked on together needs at most about this much. */
export const GROUP_BUFFER_BYTES = 16 * 1024 * 1024;

/** What was done, counted exactly. */
export interface ArrayCounters {
  fullBands: number;
  readModifyWrites: number;
  reconstructWrites: number;
  reconstructedReads: number;
  correctedReads: number;
}

export interface CoreOptions {
  readonly name: string;
  readonly geometry: Geometry;
  readonly slots: readonly Slot[];
  readonly spares: ArrayMember[];
  /** Rows, in data, whose parity may be wrong. */
  readonly suspect: RangeSet;
  readonly readOnly: boolean;
  /** Tell the user of something that is no error: a member that failed, a sector that was corrected. */
  readonly warn: (message: string) => void;
}

export class ArrayCore {
  readonly name: string;
  readonly geometry: Geometry;
  readonly slots: readonly Slot[];
  readonly spares: ArrayMember[];
  readonly suspect: RangeSet;
  readonly readOnly: boolean;
  readonly warn: (message: string) => void;
  readonly locks = new WindowLocks();
  readonly windowBytes: number;
  readonly counters: ArrayCounters = {
    fullBands: 0,
    readModifyWrites: 0,
    reconstructWrites: 0,
    reconstructedReads: 0,
    correctedReads: 0,
  };
  /**
   * What was suspect when the array was opened has been dealt with: made right, or accepted as in doubt. From then on
   * what is suspect while a member is missing is in doubt for good, until it is written anew.
   */
  isRecovered = false;
  /** What is suspect was named by the record: just that, nothing else, may be wrong. */
  isDoubtKnown = false;
  private lazyArena: Arena | null = null;
  private isClosed = false;

  constructor(options: CoreOptions) {
    this.name = options.name;
    this.geometry = options.geometry;
    this.slots = options.slots;
    this.spares = options.spares;
    this.suspect = options.suspect;
    this.readOnly = options.readOnly;
    this.warn = options.warn;
    this.windowBytes = Math.min(options.geometry.chunkBytes, MAX_WINDOW_BYTES);
  }

  /** Reserved when the first operation needs a buffer: a plain read needs none. */
  get arena(): Arena {
    // Nobody would give back what a late call reserved anew.
    if (this.isClosed) throw new Error(`${this.name} is closed`);
    this.lazyArena ??= BufferPool.shared().arena(`raid ${this.name}`, ARENA_BYTES);
    return this.lazyArena;
  }

  closeArena(): void {
    this.isClosed = true;
    this.lazyArena?.close();
    this.lazyArena = null;
  }

  windowOf(offsetInData: number): number {
    return Math.floor(offsetInData / this.windowBytes);
  }

  /** The windows that rows [start, end), in data, lie in, ascending: what to lock. */
  windowsOf(start: number, end: number): number[] {
    const first = this.windowOf(start);
    return Array.from({ length: this.windowOf(end - 1) - first + 1 }, (_, index) => first + index);
  }

  /** The array's bytes cut at windows: no piece spans two. */
  windowPieces(arrayOffset: number, length: number): Piece[] {
    const pieces: Piece[] = [];
    const end = arrayOffset + length;
    for (let at = arrayOffset; at < end; ) {
      const piece = this.geometry.pieceAt(at, end - at);
      const room = this.windowBytes - (piece.offsetInData % this.windowBytes);
      pieces.push(piece.length <= room ? piece : { ...piece, length: room });
      at += Math.min(piece.length, room);
    }
    return pieces;
  }

  /**
   * [start, end) in data, cut where it changes who can be read or whether parity is trusted: one bad sector of a
   * member must not hang on a bad sector that another has elsewhere.
   */
  spans(start: number, end: number): Range[] {
    const members = this.slotMembers();
    // So it is nearly always.
    if (this.suspect.isEmpty && members.every((member) => member.isReadableEverywhere))
      return [{ start, end }];
    const cuts = new Set([start, end]);
    for (const member of members) for (const at of member.boundaries(start, end)) cuts.add(at);
    for (const range of this.suspect.within(start, end)) cuts.add(range.start).add(range.end);
    const sorted = [...cuts].sort((a, b) => a - b);
    return sorted.slice(1).map((cut, index) => ({ start: sorted[index]!, end: cut }));
  }

  /** Every member that is written: in slots, replacements and spares, but no faulty ones. */
  liveMembers(): ArrayMember[] {
    return [...this.slotMembers(), ...this.spares.filter((member) => !member.isFaulty)];
  }

  /** Members that hold data of the array, but no faulty ones. */
  slotMembers(): ArrayMember[] {
    const members: ArrayMember[] = [];
    for (const slot of this.slots) slot.addWriters(members);
    return members;
  }

  /** Members that are out of service and were not removed, with the slot that they were in. */
  outMembers(): { readonly slot: number | null; readonly member: ArrayMember }[] {
    const spares = this.spares.filter((member) => member.isFaulty);
    return [
      ...this.slots.flatMap((slot) => slot.out().map((member) => ({ slot: slot.index, member }))),
      ...spares.map((member) => ({ slot: null, member })),
    ];
  }

  /** Takes a member out that is out of service, or a spare: its device may be closed then. */
  forget(member: ArrayMember): void {
    // What was planned with it and comes to it late fails, and is nobody's loss.
    member.markFaulty(new UserError('REFUSED', 'it was removed'));
    for (const slot of this.slots) slot.forget(member);
    const spare = this.spares.indexOf(member);
    if (spare >= 0) this.spares.splice(spare, 1);
  }

  get isDegraded(): boolean {
    return this.slots.some((slot) => !slot.isInSync);
  }

  get degradedSlots(): number[] {
    return this.slots.filter((slot) => !slot.isInSync).map((slot) => slot.index);
  }

  assertUsable(): void {
    if (!this.isDegraded) return;
    const lost = this.degradedSlots;
    if (lost.length < 2) return;
    const causes = lost.flatMap((slot) => {
      const member = this.slots[slot]!.member;
      return member?.isFaulty ? [`${member.image}: ${describeCause(member.cause)}`] : [];
    });
    throw new UserError(
      'NOT_ASSEMBLED',
      `${this.name}: slots ${lost.join(' and ')} have no good member; RAID-5 makes good for one alone`,
      {
        hint: `nothing is written any more. ${causes.join('; ')}. Make the images readable again and start anew`,
        details: { slots: lost },
      },
    );
  }

  /** Takes a member out, in memory: no plan made after this counts on it. metadata.ts makes it durable. */
  fail(member: ArrayMember, cause: unknown): void {
    if (isOurFault(cause)) throw cause;
    if (member.isFaulty) return;
    member.markFaulty(cause);
    this.warn(`${member.image} failed and is taken out of ${this.name}: ${describeCause(cause)}`);
  }

  /** As `fail`; but a full disk below an image is thrown: it does not make what the image holds worse. */
  failUnlessFull(member: ArrayMember, cause: unknown): void {
    if (!isMemberFault(cause)) throw cause;
    this.fail(member, cause);
  }

  parityTrusted(start: number, end: number): boolean {
    return !this.suspect.overlaps(start, end);
  }
}

/**
 * A fault of ours is no failure of a member's: it must not cost the array its redundancy. What lies out of a
 * device's range was asked for by us.
 */
export function isOurFault(error: unknown): boolean {
  return !(error instanceof UserError) || error.code === 'OUT_OF_RANGE';
}

/** Whether an error of a write means that the member has failed: no full disk below it, and no fault of ours. */
export function isMemberFault(error: unknown): boolean {
  return !isOurFault(error) && !isNoSpace(error);
}

export function describeCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
