/** The list in memory: who is on it and when he leaves, and which streams are marked ahead. */
import { describe, expect, it } from 'vitest';
import type { Range } from '../../../src/device/range-set.js';
import { StreamMarks } from '../../../src/raid/record/stream-marks.js';
import { StripeJournal } from '../../../src/raid/record/stripe-journal.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const one = (stripe: number): Range => ({ start: stripe, end: stripe + 1 });

function journalOf(limits: Partial<ConstructorParameters<typeof StripeJournal>[0]> = {}): StripeJournal {
  return new StripeJournal({
    stripes: 10_000,
    recent: { ranges: 4, units: 10 },
    expected: { ranges: 4, units: 20 },
    aheadStripes: 64,
    ...limits,
  });
}

const dirtyOf = (journal: StripeJournal) => journal.dirty().list();

/** A write from its beginning to its end. */
function write(journal: StripeJournal, ...stripes: Range[]): void {
  journal.end(journal.begin(stripes));
}

describe('a stripe is dirty', () => {
  it('from the beginning of its write until a flush after its end', () => {
    const journal = journalOf();
    const ticket = journal.begin([one(3)]);
    expect(journal.isAlone).toBe(true);
    expect(dirtyOf(journal)).toEqual([one(3)]);
    journal.end(ticket);
    expect(journal.isAlone).toBe(false);
    const flushed = journal.flushing();
    expect(dirtyOf(journal)).toEqual([one(3)]);
    flushed(true);
    expect(dirtyOf(journal)).toEqual([]);
  });

  it('as long as any of several writes of it has not been flushed', () => {
    const journal = journalOf();
    const [first, second] = [journal.begin([one(3)]), journal.begin([one(3)])];
    journal.end(first);
    const flushed = journal.flushing();
    journal.end(second);
    flushed(true);
    expect(dirtyOf(journal)).toEqual([one(3)]);
    journal.flushing()(true);
    expect(dirtyOf(journal)).toEqual([]);
  });

  it('still after a flush that failed', () => {
    const journal = journalOf();
    write(journal, one(3));
    journal.flushing()(false);
    expect(dirtyOf(journal)).toEqual([one(3)]);
    expect(journal.useful()).toEqual([]);
    expect(journal.unflushedStripes).toBe(1);
  });

  it('during two flushes that overlap, until the one that covers it has ended', () => {
    const journal = journalOf();
    write(journal, one(1));
    const first = journal.flushing();
    write(journal, one(2));
    const second = journal.flushing();
    second(true);
    expect(dirtyOf(journal)).toEqual([one(1)]);
    first(true);
    expect(dirtyOf(journal)).toEqual([]);
  });

  it('no more when all of it was written with fua, but for what others wrote there', () => {
    const journal = journalOf();
    const [first, second, third] = [one(3), one(3), one(5)].map((range) => journal.begin([range]));
    journal.end(first!);
    journal.end(second!, true);
    journal.end(third!, true);
    expect(dirtyOf(journal)).toEqual([one(3)]);
    expect(journal.useful()).toEqual([one(3), one(5)]);
  });

  it('exactly then, whatever is written and flushed in whatever order', async () => {
    await withSeed(async (random) => {
      const journal = journalOf();
      const writing = new Map<ReturnType<StripeJournal['begin']>, number>();
      const flushes: { end: (isDurable: boolean) => void; covers: Set<number> }[] = [];
      /** Of each stripe the writes that have ended, and which of them a flush has covered. */
      let ended = new Set<number>();
      const inFlush = () => flushes.flatMap(({ covers }) => [...covers]);
      for (let step = 0; step < 800; step++) {
        const dice = random.below(4);
        if (dice === 0) {
          const stripe = random.below(40);
          writing.set(journal.begin([one(stripe)]), stripe);
        } else if (dice === 1 && writing.size > 0) {
          const [ticket, stripe] = random.pick([...writing]);
          writing.delete(ticket);
          journal.end(ticket);
          ended.add(stripe);
        } else if (dice === 2) {
          flushes.push({ end: journal.flushing(), covers: ended });
          ended = new Set();
        } else if (flushes.length > 0) {
          const [flush] = flushes.splice(random.below(flushes.length), 1);
          const isDurable = random.chance(0.8);
          flush!.end(isDurable);
          if (!isDurable) for (const stripe of flush!.covers) ended.add(stripe);
        }
        const expected = new Set([...writing.values(), ...ended, ...inFlush()]);
        const listed = dirtyOf(journal).flatMap(({ start, end }) =>
          Array.from({ length: end - start }, (_, index) => start + index),
        );
        expect(new Set(listed)).toEqual(expected);
      }
    });
  });
});

describe('what is clean and listed', () => {
  it('is what was written last, within its limits of ranges and of stripes', () => {
    const journal = journalOf();
    for (const stripe of [10, 20, 30, 40, 50, 60]) {
      write(journal, one(stripe));
      journal.flushing()(true);
    }
    expect(journal.useful()).toEqual([one(30), one(40), one(50), one(60)]);
    write(journal, { start: 100, end: 109 });
    journal.flushing()(true);
    expect(journal.useful()).toEqual([one(60), { start: 100, end: 109 }]);
    write(journal, { start: 200, end: 211 });
    journal.flushing()(true);
    expect(journal.useful()).toEqual([]);
  });

  it('has each stripe once', () => {
    const journal = journalOf();
    for (const stripe of [10, 20, 10, 10]) {
      write(journal, one(stripe));
      journal.flushing()(true);
    }
    expect(journal.useful()).toEqual([one(20), one(10)]);
  });

  it('is forgotten when nothing is written any more', () => {
    const journal = journalOf();
    for (const stripe of [10, 11, 12]) write(journal, one(stripe));
    journal.flushing()(true);
    expect(journal.useful().length).toBeGreaterThan(1);
    journal.forgetClean();
    expect(journal.useful()).toEqual([]);
  });
});

describe('marks ahead of streams', () => {
  /** How many times what a write needs was not marked, of so many writes in order. */
  function unmarked(marks: StreamMarks, count: number, step = 1, from = 0): number {
    let listed: readonly Range[] = [];
    let misses = 0;
    for (let at = from; at < from + count * step; at += step) {
      marks.note(at, at + step);
      if (listed.some(({ start, end }) => start <= at && at + step <= end)) continue;
      misses += 1;
      listed = marks.ahead();
    }
    return misses;
  }

  it('double with each time that a stream comes to their end, up to a limit', () => {
    const marks = new StreamMarks(64, 100_000);
    const windows: number[] = [];
    for (let at = 0; at < 1000; at++) {
      marks.note(at, at + 1);
      const length = marks.ahead().reduce((sum, { start, end }) => sum + end - start, 0);
      if (length > (windows.at(-1) ?? 0)) windows.push(length);
    }
    expect(windows).toEqual([1, 2, 4, 8, 16, 32, 64]);
    expect(unmarked(new StreamMarks(64, 100_000), 6400)).toBeLessThan(220);
  });

  it('do not reach beyond the last stripe', () => {
    const marks = new StreamMarks(64, 50);
    for (let at = 0; at < 45; at++) marks.note(at, at + 1);
    expect(marks.ahead()).toEqual([{ start: 45, end: 50 }]);
    for (let at = 45; at < 50; at++) marks.note(at, at + 1);
    expect(marks.ahead()).toEqual([]);
  });

  it('are set for several small writes of one stripe after the other', () => {
    const marks = new StreamMarks(64, 1000);
    for (let at = 0; at < 20; at++) for (let part = 0; part < 4; part++) marks.note(at, at + 1);
    expect(marks.ahead()[0]!.end).toBeGreaterThan(20);
  });

  it('are set for four streams at a time, and for none that goes nowhere', async () => {
    const marks = new StreamMarks(64, 100_000);
    for (let at = 0; at < 30; at++)
      for (let stream = 0; stream < 4; stream++) marks.note(1000 * stream + at, 1000 * stream + at + 1);
    expect(
      marks
        .ahead()
        .map(({ start }) => start)
        .sort((a, b) => a - b),
    ).toEqual([30, 1030, 2030, 3030]);
    await withSeed(async (random) => {
      const scattered = new StreamMarks(64, 100_000);
      for (let count = 0; count < 1000; count++) {
        const at = 2 * random.below(50_000);
        scattered.note(at, at + 1);
      }
      const marked = scattered.ahead().reduce((sum, { start, end }) => sum + end - start, 0);
      expect(marked).toBeLessThanOrEqual(4);
    });
  });

  it('are gone after a reset', () => {
    const marks = new StreamMarks(64, 1000);
    for (let at = 0; at < 20; at++) marks.note(at, at + 1);
    marks.reset();
    expect(marks.ahead()).toEqual([]);
  });
});
