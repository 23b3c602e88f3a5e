/** A bench as its tests run it: each comparison once, for what it counts; nobody looks at its times. */
import { mkdir } from 'node:fs/promises';
import { expect } from 'vitest';
import type { Bench } from '../../src/bench/bench.js';
import { type ComparisonResult, type ContenderResult, measure } from '../../src/bench/measure.js';

export interface MeasuredOnce {
  readonly notes: readonly string[];
  readonly results: readonly ComparisonResult[];
}

/** In this directory, which is made unless it is there; `before` runs when the bench is prepared. */
export async function measuredOnce(
  bench: Bench,
  directory: string,
  before = async (): Promise<void> => undefined,
): Promise<MeasuredOnce> {
  await mkdir(directory, { recursive: true });
  const prepared = await bench.prepare({ directory, roundSeconds: 0.001 });
  try {
    await before();
    const results: ComparisonResult[] = [];
    for await (const comparison of prepared.comparisons()) {
      results.push(await measure(comparison, 1));
      await comparison.close?.();
    }
    return { notes: prepared.notes, results };
  } finally {
    await prepared.close();
  }
}

/** The only one with such a title. */
export function comparisonOf(results: readonly ComparisonResult[], title: string | RegExp): ComparisonResult {
  const found = results.filter((result) =>
    typeof title === 'string' ? result.title === title : title.test(result.title),
  );
  expect(found, String(title)).toHaveLength(1);
  return found[0]!;
}

export function contenderOf({ contenders }: ComparisonResult, name: string): ContenderResult {
  const found = contenders.find((contender) => contender.name === name);
  expect(found, name).toBeDefined();
  return found!;
}
