/** What is told to be written soon: how much of it is remembered, when it leaves, and when it is worth a record ahead. */
import { describe, expect, it } from 'vitest';
import { ExpectedRanges } from '../../src/device/expected-ranges.js';
import { type Range, RangeSet } from '../../src/device/range-set.js';
import { addUseful } from '../../src/raid/record/fitting.js';
import { StripeJournal } from '../../src/raid/record/stripe-journal.js';
import { withSeed } from '../support/devices/seeded-random.js';

const STRIPES = 1000;
const range = (start: number, end = start + 1): Range => ({ start, end });

function expectedOf(ranges = 4, stripes = 20): ExpectedRanges {
  return new ExpectedRanges({ ranges, units: stripes }, STRIPES);
}

describe('what is expected', () => {
  it('is what was told last, within its limits of ranges and of stripes', () => {
    const expected = expectedOf();
    for (const at of [10, 20, 30, 40, 50]) expected.expect(range(at));
    expect(expected.list()).toEqual([20, 30, 40, 50].map((at) => range(at)));
    expected.expect(range(100, 118));
    expect(expected.list()).toEqual([range(40), range(50), range(100, 118)]);
    expected.expect(range(200, 219));
    expect(expected.list()).toEqual([range(200, 219)]);
  });

  it('has the beginning of what is too long, and nothing that lies outside of the array', () => {
    const expected = expectedOf();
    expected.expect(range(0, STRIPES));
    expect(expected.list()).toEqual([range(0, 20)]);
    expected.reset();
    for (const outside of [range(-9, 0), range(STRIPES, STRIPES + 9), range(7, 7), range(9, 7)])
      expected.expect(outside);
    expect([expected.list(), expected.unconsidered()]).toEqual([[], []]);
    expected.expect(range(-5, 2));
    expected.expect(range(STRIPES - 2, STRIPES + 5));
    expect(expected.list()).toEqual([range(0, 2), range(STRIPES - 2, STRIPES)]);
  });

  it('has each stripe once: what is told again is new', () => {
    const expected = expectedOf();
    expected.expect(range(10, 16));
    expected.expect(range(20));
    expected.expect(range(12, 14));
    expect(expected.list()).toEqual([range(10, 12), range(14, 16), range(20), range(12, 14)]);
    expected.expect(range(10, 16));
    expect(expected.list()).toEqual([range(20), range(10, 16)]);
  });

  it('leaves when a write of it begins, and keeps its bounds where that parts it', () => {
    const expected = expectedOf();
    for (const at of [10, 20, 30, 40]) expected.expect(range(at, at + 3));
    expected.begun(range(19, 21));
    expected.begun(range(30, 33));
    expect(expected.list()).toEqual([range(10, 13), range(21, 23), range(40, 43)]);
    expected.begun(range(41));
    expected.begun(range(11));
    expect(expected.list()).toEqual([range(12), range(21, 23), range(40), range(42)]);
  });

  it('is always within its bounds, and never has what was begun since it was told', async () => {
    await withSeed(async (random) => {
      const expected = expectedOf(6, 40);
      let may = new Set<number>();
      for (let step = 0; step < 3000; step++) {
        const start = random.below(120);
        const told = range(start, start + 1 + random.below(12));
        const stripes = Array.from({ length: told.end - told.start }, (_, at) => told.start + at);
        if (random.chance(0.5)) {
          expected.expect(told);
          may = new Set([...may, ...stripes]);
        } else {
          expected.begun(told);
          may = new Set([...may].filter((stripe) => !stripes.includes(stripe)));
        }
        const list = expected.list();
        const listed = list.flatMap(({ start: at, end }) =>
          Array.from({ length: end - at }, (_, index) => at + index),
        );
        expect(list.length).toBeLessThanOrEqual(6);
        expect(listed.length).toBeLessThanOrEqual(40);
        expect(new Set(listed).size).toBe(listed.length);
        expect(listed.filter((stripe) => !may.has(stripe))).toEqual([]);
      }
    });
  });

  it('is worth a record of its own once for each time that something new is told', () => {
    const expected = expectedOf();
    expect(expected.unconsidered()).toEqual([]);
    expected.expect(range(10, 14));
    expect(expected.unconsidered()).toEqual([range(10, 14)]);
    expected.considered();
    expect(expected.unconsidered()).toEqual([]);
    expected.expect(range(11, 13));
    expect(expected.unconsidered()).toEqual([]);
    expected.expect(range(13, 15));
    expect(new RangeSet(expected.unconsidered()).list()).toEqual([range(10, 15)]);
    expected.reset();
    expect(expected.unconsidered()).toEqual([]);
  });
});

describe('in the journal of stripes', () => {
  const journalOf = () =>
    new StripeJournal({
      stripes: STRIPES,
      recent: { ranges: 4, units: 10 },
      expected: { ranges: 4, units: 20 },
      aheadStripes: 64,
    });

  it('it is not dirty, leaves when its write begins, and is forgotten when nothing is written any more', () => {
    const journal = journalOf();
    journal.expected.expect(range(50, 54));
    expect(journal.dirty().isEmpty).toBe(true);
    expect(journal.useful()).toEqual([range(50, 54)]);
    const ticket = journal.begin([range(51)]);
    expect(journal.useful()).toEqual([range(50), range(52, 54)]);
    journal.end(ticket);
    journal.forgetClean();
    expect(journal.useful()).toEqual([]);
    expect(journal.dirty().list()).toEqual([range(51)]);
  });

  it('it is more useful than hot stripes, and less than streams', () => {
    const journal = journalOf();
    for (const at of [10, 11]) journal.end(journal.begin([range(at)]));
    journal.flushing()(true);
    journal.expected.expect(range(50));
    expect(journal.useful()).toEqual([range(10, 12), range(50), range(12)]);
  });

  it('it takes no room from what is dirty', () => {
    const journal = journalOf();
    for (const at of [60, 70, 80]) journal.expected.expect(range(at));
    const dirty = () => new RangeSet([range(1), range(3), range(5)]);
    for (const [room, added] of [
      [2, []],
      [3, []],
      [5, [70, 80]],
    ] as const) {
      const listed = dirty();
      addUseful(listed, journal.useful(), room);
      expect(listed.list()).toEqual([...dirty().list(), ...added.map((at) => range(at))]);
    }
  });
});
