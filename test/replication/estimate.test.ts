/** How long a resync still takes: as what is left has become less. */
import { expect, it } from 'vitest';
import { Estimate } from '../../src/replication/resync/estimate.js';
import { TurnClock } from './support/stage.js';

/** What is left, each second. */
function told(...left: number[]): number | null {
  const clock = new TurnClock();
  const estimate = new Estimate(clock);
  for (const [second, much] of left.entries()) {
    clock.ms = second * 1000;
    estimate.note(much);
  }
  return estimate.secondsLeft(left.at(-1)!);
}

it('is as it went in the last seconds', () => {
  expect(told(1000, 900, 800, 700)).toBe(7);
  // Ten fast seconds are long ago.
  const slow = Array.from({ length: 12 }, (_, second) => 100 - second);
  expect(told(10_000, 5000, ...slow)).toBe(89);
});

it('says nothing where nobody can tell: at the beginning, and while writing outpaces copying', () => {
  expect(told(1000)).toBeNull();
  expect(told(1000, 1000, 1000)).toBeNull();
  expect(told(1000, 1100, 1200)).toBeNull();
});

it('is nothing at the end', () => {
  expect(told(1000, 500, 0)).toBe(0);
});
