/**
 * What a write of some rows has to read, and how it makes the new parity: the arithmetic of RAID-5 writes,
 * without any I/O.
 *
 * The rows of a window are cut into bands in which the set of data chunks that are written is the same. For
 * each band there are two ways:
 *   read-modify-write   new parity = old parity ^ old data ^ new data    reads what is written, and parity
 *   reconstruct-write   new parity = all data, old and new               reads what is not written
 * The one that reads less is taken, reconstruct-write on a tie, as md does (raid5.c,
 * handle_stripe_dirtying). A band that is written whole reads nothing. With a member missing, the one that
 * does not need it is taken: at most one of the two needs any one member. Where the old parity is not to be
 * trusted (a resync has not been there yet), only reconstruct-write is right.
 */
import { UserError } from '../errors.js';
import type { ArrayCore } from './core.js';
import type { ArrayMember, Slot } from './member.js';

/** Bytes to write, within one window and one data chunk. */
export interface Segment {
  readonly dataIndex: number;
  /** In data. */
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** All that one write (or batch) changes in one window. */
export interface WindowWrite {
  readonly window: number;
  readonly stripe: number;
  readonly segments: Segment[];
}

export interface BandRead {
  readonly member: ArrayMember;
  /** Index of the buffer that it fills: 0 is the parity buffer. */
  readonly buffer: number;
}

/** How the parity of the rows [start, end) is made. */
export interface BandPlan {
  readonly start: number;
  readonly end: number;
  readonly paritySlot: Slot;
  /** `none`: nobody is there to take the parity, or what it stands for cannot be known. */
  readonly method: 'read-modify-write' | 'reconstruct-write' | 'none';
  readonly reads: readonly BandRead[];
  /** New data of the band. */
  readonly fresh: readonly Uint8Array[];
}

/** What of an array a plan depends on. */
export type PlanContext = Pick<ArrayCore, 'geometry' | 'slots' | 'parityTrusted' | 'spans'>;

/**
 * Plans a window. Throws DATA_UNAVAILABLE where neither way is open because two members cannot be read
 * there: the parity that would be written would turn what can still be saved of these rows into rubbish.
 */
export function planWindow(context: PlanContext, write: WindowWrite): BandPlan[] {
  const all = extent(write.segments);
  const boundaries = context.spans(all.start, all.end).map((span) => span.start);
  return bands(write.segments, boundaries).map(([start, end]) => planBand(context, write, start, end));
}

/** Bytes of buffers that a band needs: the parity, and one for each read of data. */
export function bandBuffers(band: BandPlan): number {
  if (band.method === 'none') return 0;
  return 1 + band.reads.filter((read) => read.buffer > 0).length;
}

function extent(segments: readonly Segment[]): { start: number; end: number } {
  return {
    start: Math.min(...segments.map((segment) => segment.start)),
    end: Math.max(...segments.map((segment) => segment.start + segment.bytes.length)),
  };
}

/** Cut where the set of chunks that are written changes, and where it changes who can be read. */
function bands(segments: readonly Segment[], boundaries: readonly number[]): [number, number][] {
  const cuts = new Set<number>(boundaries);
  for (const { start, bytes } of segments) cuts.add(start).add(start + bytes.length);
  const sorted = [...cuts].sort((a, b) => a - b);
  const found: [number, number][] = [];
  for (let i = 0; i + 1 < sorted.length; i++) {
    const start = sorted[i]!;
    const end = sorted[i + 1]!;
    if (segments.some((segment) => covers(segment, start, end))) found.push([start, end]);
  }
  return found;
}

function covers(segment: Segment, start: number, end: number): boolean {
  return segment.start <= start && end <= segment.start + segment.bytes.length;
}

function planBand(context: PlanContext, write: WindowWrite, start: number, end: number): BandPlan {
  const { geometry, slots } = context;
  const paritySlot = slots[geometry.parityMember(write.stripe)]!;
  const covered = write.segments.filter((segment) => covers(segment, start, end));
  const fresh = covered.map((s) => s.bytes.subarray(start - s.start, end - s.start));
  const band = { start, end, paritySlot, fresh };
  if (paritySlot.writers().length === 0) return { ...band, method: 'none', reads: [] };

  const written: (ArrayMember | null)[] = [];
  const others: (ArrayMember | null)[] = [];
  for (let dataIndex = 0; dataIndex < geometry.dataDisks; dataIndex++) {
    const isWritten = covered.some((segment) => segment.dataIndex === dataIndex);
    const reader = slots[geometry.dataMember(write.stripe, dataIndex)]!.reader(start, end);
    (isWritten ? written : others).push(reader);
  }
  const parity = context.parityTrusted(start, end) ? paritySlot.reader(start, end) : null;

  const canModify = parity !== null && written.every((member) => member !== null);
  const canReconstruct = others.every((member) => member !== null);
  if (canModify && !(canReconstruct && others.length <= written.length + 1)) {
    const reads = [parity, ...(written as ArrayMember[])].map((member, buffer) => ({ member, buffer }));
    return { ...band, method: 'read-modify-write', reads };
  }
  if (canReconstruct) {
    const reads = (others as ArrayMember[]).map((member, index) => ({ member, buffer: index + 1 }));
    return { ...band, method: 'reconstruct-write', reads };
  }
  // Parity is of no use already, and stays so: what cannot be read there is lost, and does not become more so.
  const isBad = paritySlot.writers().every((member) => member.badBlocks.overlaps(start, end));
  if (isBad || !context.parityTrusted(start, end)) return { ...band, method: 'none', reads: [] };
  throw unavailable(context, write.stripe, start, end);
}

function unavailable(context: PlanContext, stripe: number, start: number, end: number): UserError {
  const lost = context.slots.filter((slot) => slot.reader(start, end) === null).map((slot) => slot.index);
  return new UserError(
    'DATA_UNAVAILABLE',
    `stripe ${stripe}: the members in slots ${lost.join(' and ')} cannot be read at ${start}..${end} of their data areas, and RAID-5 makes good for one alone`,
    {
      hint: 'write the whole of these rows at once to make them whole again, or restore a member',
      details: { stripe, slots: lost, offsetInDataBytes: start, lengthBytes: end - start },
    },
  );
}
