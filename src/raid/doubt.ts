/**
 * What is in doubt: bytes of a member that is gone, in rows whose parity may be wrong. What it held there could only
 * be made from that parity, so nobody can tell it (the write hole). Everything else of those rows is read from the
 * members that hold it.
 */
import { type Range, RangeSet } from '../device/range-set.js';
import type { ArrayCore } from './core.js';
import type { RecordContent } from './record/codec.js';
import { byStripe } from './resync.js';

/** How many ranges a message names. */
const NAMED_RANGES = 8;

/** Bytes of the array, ascending. */
export function bytesInDoubt(core: ArrayCore): readonly Range[] {
  const { geometry } = core;
  const found = new RangeSet();
  for (const index of core.degradedSlots) {
    for (const rows of suspectParts(core)) {
      const offset = geometry.arrayOffsetOf(index, rows.start);
      if (offset === null || core.slots[index]!.reader(rows.start, rows.end) !== null) continue;
      found.add(offset, offset + rows.end - rows.start);
    }
  }
  for (const { start, end } of lostBytes(core)) found.add(start, end);
  return found.list();
}

/**
 * Bytes of the array of which it is certain that nobody can tell them: without a record that counts, what bad blocks
 * say alone. Of the rest of a dirty and degraded array anything may be in doubt, and nothing says what.
 */
export function bytesKnownInDoubt(core: ArrayCore): readonly Range[] {
  return core.isDoubtKnown ? bytesInDoubt(core) : new RangeSet(lostBytes(core)).list();
}

/**
 * Bytes of the array that a record which counts no more had in doubt. Whoever wrote since may have written them anew, or
 * have rebuilt the member from them: whether they are what was meant nobody can tell, and they read as they are.
 */
export function forgottenDoubt(core: ArrayCore, overtaken: RecordContent | null): readonly Range[] {
  const found = new RangeSet();
  const slots = overtaken === null ? [] : lackingSlots(core, overtaken);
  const rows = new RangeSet(overtaken?.inDoubt ?? []).within(0, core.geometry.memberSizeBytes);
  for (const part of rows.flatMap((range) => [...byStripe(core, range)])) {
    for (const slot of slots) {
      const offset = core.geometry.arrayOffsetOf(slot, part.start);
      if (offset !== null) found.add(offset, offset + part.end - part.start);
    }
  }
  return found.list();
}

/** Whose data was in doubt: who had no superblock then that the record knows, or was being rebuilt and is still. */
function lackingSlots(core: ArrayCore, { superblocks }: RecordContent): readonly number[] {
  const all = core.slots.map(({ index }) => index);
  const absent = all.filter((index) => !superblocks.some(({ slot }) => slot === index));
  if (absent.length > 0) return absent;
  return core.degradedSlots.length > 0 ? core.degradedSlots : all;
}

/** As status and errors tell of ranges. */
export function asPlaces(ranges: readonly Range[]): { offsetBytes: number; lengthBytes: number }[] {
  return ranges.map(({ start, end }) => ({ offsetBytes: start, lengthBytes: end - start }));
}

/** As messages tell of them: the first few, and how many more there are. */
export function nameRanges(ranges: readonly Range[]): string {
  const named = ranges.slice(0, NAMED_RANGES).map(({ start, end }) => `${end - start} at offset ${start}`);
  const more = ranges.length > NAMED_RANGES ? ` and ${ranges.length - NAMED_RANGES} more ranges` : '';
  return `${named.join(', ')}${more}`;
}

/** For people. */
export function describeForgotten(ranges: readonly Range[]): string {
  return `bytes were in doubt by a dirty-stripe record that counts no more: ${nameRanges(ranges)}. Whether they hold what they should nobody can tell now, and they are read as they are`;
}

/** What bad blocks of two members of a row leave nobody to tell: so a rebuild notes what was in doubt. */
function* lostBytes(core: ArrayCore): Generator<Range> {
  for (const { index, member } of core.slots) {
    for (const range of member?.badBlocks.list() ?? []) {
      for (const part of byStripe(core, range)) {
        for (const { start, end } of core.spans(part.start, part.end)) {
          const offset = core.geometry.arrayOffsetOf(index, start);
          const unreadable = core.slots.filter((slot) => slot.reader(start, end) === null);
          if (offset === null || unreadable.length < 2 || !unreadable.includes(core.slots[index]!)) continue;
          yield { start: offset, end: offset + end - start };
        }
      }
    }
  }
}

/**
 * Accepts that what is suspect is in doubt. Where the member that is gone held the parity, nothing is: all data of
 * those rows is there, and whoever takes its place gets new parity.
 */
export function acceptDoubt(core: ArrayCore): void {
  const gone = core.degradedSlots;
  for (const { start, end } of suspectParts(core)) {
    const stripe = Math.floor(start / core.geometry.chunkBytes);
    if (gone.includes(core.geometry.parityMember(stripe))) core.suspect.remove(start, end);
  }
  core.isRecovered = true;
}

function suspectParts(core: ArrayCore): Range[] {
  return core.suspect.list().flatMap((range) => [...byStripe(core, range)]);
}
