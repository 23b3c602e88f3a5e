/**
 * What is in doubt: bytes of a member that is gone, in rows whose parity may be wrong. What it held there could only
 * be made from that parity, so nobody can tell it (the write hole). Everything else of those rows is read from the
 * members that hold it.
 */
import { type Range, RangeSet } from '../device/range-set.js';
import type { ArrayCore } from './core.js';
import { byStripe } from './resync.js';

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
