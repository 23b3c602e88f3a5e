import { expect, it } from 'vitest';
import { RangeSet } from '../../src/device/range-set.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';

const SIZE = 64;

function range(random: SeededRandom): [number, number] {
  const start = random.below(SIZE);
  return [start, random.between(start, SIZE)];
}

/** What a row of flags says of ranges, joined. */
function rangesOf(flags: readonly boolean[], from = 0, to = SIZE): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (let at = from; at < to; at++) {
    if (flags[at] !== true) continue;
    const last = found.at(-1);
    if (last?.end === at) last.end = at + 1;
    else found.push({ start: at, end: at + 1 });
  }
  return found;
}

it('is what a row of flags is, and stays sorted and joined', () =>
  withSeed(async (random) => {
    for (let round = 0; round < 100; round++) {
      const set = new RangeSet();
      const flags = new Array<boolean>(SIZE).fill(false);
      for (let step = 0; step < 30; step++) {
        const [start, end] = range(random);
        const isAdded = random.chance(0.6);
        if (isAdded) set.add(start, end);
        else set.remove(start, end);
        flags.fill(isAdded, start, end);
        const all = rangesOf(flags);
        expect(set.list()).toEqual(all);
        expect(set.isEmpty).toBe(all.length === 0);
        expect(set.first).toBe(all[0]?.start ?? null);
        expect(set.totalBytes).toBe(flags.filter(Boolean).length);
        const [from, to] = range(random);
        const asked = flags.slice(from, to);
        expect(set.within(from, to)).toEqual(rangesOf(flags, from, to));
        const rest = asked.map((flag) => !flag);
        expect(set.without(from, to)).toEqual(
          rangesOf(rest, 0, rest.length).map(({ start, end }) => ({ start: start + from, end: end + from })),
        );
        expect(set.covers(from, to)).toBe(asked.every(Boolean));
        expect(set.overlaps(from, to)).toBe(asked.some(Boolean));
      }
    }
  }));
