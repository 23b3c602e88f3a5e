/** Which writers count as streams: a record is written ahead of one that has proven itself, and of no other. */
import { expect, it } from 'vitest';
import { StreamMarks } from '../../../src/raid/record/stream-marks.js';

const STRIPES = 1000;

it('a stream is marked ahead from its second write on, and is worth a record of its own after some more', () => {
  const marks = new StreamMarks(64, STRIPES);
  const proven: boolean[] = [];
  for (let stripe = 10; stripe < 16; stripe++) {
    marks.note(stripe, stripe + 1);
    proven.push(marks.provenAhead().length > 0);
    if (stripe > 10) expect(marks.ahead()[0]).toMatchObject({ start: stripe + 1 });
  }
  expect(proven).toEqual([false, false, false, true, true, true]);
});

it('writes at random that come to the next stripe once in a while are none', () => {
  const marks = new StreamMarks(64, STRIPES);
  for (let first = 0; first < 900; first += 90) {
    marks.note(first, first + 1);
    marks.note(first + 1, first + 2);
    marks.note(first + 1, first + 2);
    expect(marks.provenAhead()).toEqual([]);
  }
});
