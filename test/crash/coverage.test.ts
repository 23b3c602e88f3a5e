/** Which orders of writes an exploring has seen: possible are those that no flush keeps, and an exhaustive run sees all of them. */
import { expect, it } from 'vitest';
import { describeCoverage } from '../../src/crash/coverage.js';
import { explore } from '../../src/crash/explorer.js';
import type { ExploreOptions } from '../../src/crash/explorer-subject.js';
import { get, put, type Toy, toySubject } from '../support/crash/toys.js';

const SECTORS = { log: 0, data: 8, head: 16 };

const roleOf = ({ offset }: { offset: number }): string =>
  Object.entries(SECTORS).find(([, sector]) => sector * 512 === offset)![0];

/** A log, then data, then a head that says that they are there; with a flush before the head, or without. */
function store(flushes: boolean): Toy {
  return {
    devices: 1,
    async work([device]) {
      await put(device!, SECTORS.log, 1);
      await put(device!, SECTORS.data, 1);
      if (flushes) await device!.flush();
      await put(device!, SECTORS.head, 1);
      await device!.flush();
    },
    recover: () => Promise.resolve(),
    read: ([device]) => get(device!, SECTORS.head),
  };
}

async function pairsOf(toy: Toy, options: Partial<ExploreOptions> = {}) {
  const subject = await toySubject(toy);
  const { coverage, isExhaustive } = await explore(subject, { seed: 1, roleOf, ...options });
  return {
    isExhaustive,
    pairs: coverage.map(({ earlier, later, isReordered }) => [earlier, later, isReordered]),
  };
}

it('what a flush keeps in order is not possible, the rest is seen', async () => {
  expect(await pairsOf(store(true))).toEqual({ isExhaustive: true, pairs: [['log', 'data', true]] });
  expect(await pairsOf(store(false))).toEqual({
    isExhaustive: true,
    pairs: [
      ['data', 'head', true],
      ['log', 'data', true],
      ['log', 'head', true],
    ],
  });
});

it('what a run that was cut short has not seen is told', async () => {
  const subject = await toySubject(store(false));
  // None is kept, one is kept: the later of two needs more.
  const { coverage } = await explore(subject, { seed: 1, roleOf, maxStates: 4 });
  expect(coverage.length).toBeGreaterThan(0);
  expect(coverage.some(({ isReordered }) => !isReordered)).toBe(true);
  expect(describeCoverage(coverage)).toMatch(
    /^reordered: \d of \d pairs of roles; not seen: \w+ without an earlier \w+/,
  );
});

it('without names of their own disks are roles', async () => {
  const subject = await toySubject(store(false));
  const { coverage } = await explore(subject, { seed: 1 });
  expect(coverage).toEqual([{ earlier: 'device-0', later: 'device-0', isReordered: true }]);
  expect(describeCoverage(coverage)).toBe('reordered: 1 of 1 pairs of roles');
  expect(describeCoverage([])).toBeNull();
});
