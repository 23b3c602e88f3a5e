/** The list of runs is bounded, and only ever grows what it covers. */
import { expect, it } from 'vitest';
import { eachRun } from '../../src/filesystems/ext/bitmaps.js';
import { RunList } from '../../src/filesystems/run-list.js';
import { withSeed } from '../support/devices/seeded-random.js';

it('closes the smallest gaps when there are too many', () => {
  const list = new RunList(16);
  for (let i = 0; i < 100; i++) list.add(i * 8192, i * 8192 + 4096);
  list.add(10_000_000, 10_004_096);
  const runs = [...list.runs()];
  expect(runs.length).toBeLessThanOrEqual(16);
  expect(runs[0]).toEqual({ start: 0, end: 99 * 8192 + 4096 });
  expect(runs.at(-1)).toEqual({ start: 10_000_000, end: 10_004_096 });
});

it('refuses runs that go back', () => {
  const list = new RunList();
  list.add(100, 200);
  expect(() => list.add(50, 60)).toThrow(RangeError);
});

it('finds the runs of a bitmap as one bit after another shows them', () =>
  withSeed(async (random) => {
    for (let round = 0; round < 200; round++) {
      const bits = 1 + random.below(300);
      const bitmap = new Uint8Array(40).map(() => [0, 0xff, random.below(256)][random.below(3)]!);
      const found = new Set<number>();
      eachRun(bitmap, bits, (from, to) => {
        for (let bit = from; bit < to; bit++) found.add(bit);
      });
      const expected = Array.from({ length: bits }, (_, i) => i).filter(
        (i) => bitmap[i >> 3]! & (1 << (i & 7)),
      );
      expect([...found]).toEqual(expected);
    }
  }));
