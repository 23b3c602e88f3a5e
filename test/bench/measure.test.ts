import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import type { Comparison, Contender, Sample } from '../../src/bench/bench.js';
import { measure, spread } from '../../src/bench/measure.js';

const seed = process.env.HOLDFAST_SEED === undefined ? {} : { seed: Number(process.env.HOLDFAST_SEED) };

/** A contender that takes the given times one after the other (the first is warm-up) and notes its turns. */
function scripted(name: string, samples: readonly Sample[], turns: string[] = []): Contender {
  let next = 0;
  return {
    name,
    run: () => {
      turns.push(name);
      return samples[next++]!;
    },
  };
}

function times(...seconds: number[]): Sample[] {
  return seconds.map((each) => ({ seconds: each }));
}

function comparison(contenders: readonly Contender[], rest: Partial<Comparison> = {}): Comparison {
  return { title: 'work', roundBytes: 1000, operations: 10, baseline: null, contenders, ...rest };
}

describe('measure', () => {
  test('takes turns, each round the other way round, one round uncounted', async () => {
    const turns: string[] = [];
    const contenders = ['a', 'b', 'c'].map((name) => scripted(name, times(9, 1, 1, 1), turns));
    let resets = 0;
    const reset = async () => {
      turns.push(`reset ${resets++}`);
    };
    const result = await measure(comparison(contenders, { reset }), 3);
    expect(turns.filter((turn) => !turn.startsWith('reset')).join('')).toBe('abccbaabccba');
    expect(turns[0]).toBe('reset 0');
    expect(resets).toBe(12);
    expect(result.rounds).toBe(3);
    expect(result.contenders.map(({ seconds }) => seconds.max)).toEqual([1, 1, 1]);
  });

  test('takes ratios within the rounds, so that a slow spell of the machine does not show', async () => {
    const base = scripted('base', times(1, 2, 20, 4));
    const twice = scripted('twice as fast', times(5, 1, 10, 2));
    const result = await measure(comparison([base, twice], { baseline: 'base' }), 3);
    const [first, second] = result.contenders;
    expect(first!.ratio).toBeNull();
    expect(second!.ratio).toEqual({ median: 2, min: 2, lowerQuartile: 2, upperQuartile: 2, max: 2 });
    expect(second!.seconds).toMatchObject({ median: 2, min: 1, max: 10 });
    expect(second!.speedBytes).toBe(500);
    expect(first!.speedBytes).toBe(250);
  });

  test('compares a contender with whom it names, and sums up latencies', async () => {
    const other = scripted('other', times(1, 4, 4));
    const latency = [9, 1, 3].map((p50Ms) => ({ p50Ms, p99Ms: 10 * p50Ms }));
    const own = {
      ...scripted(
        'own',
        latency.map((each) => ({ seconds: 2, latency: each })),
      ),
      against: 'other',
    };
    const result = await measure(
      comparison([scripted('base', times(1, 1, 1)), other, own], { baseline: 'base' }),
      2,
    );
    const [, second, third] = result.contenders;
    expect(second).toMatchObject({ against: 'base', ratio: { median: 0.25 }, latency: null });
    expect(third).toMatchObject({ against: 'other', ratio: { median: 2 } });
    expect(third!.latency).toMatchObject({ p50Ms: { median: 2, max: 3 }, p99Ms: { median: 20, min: 10 } });
    await expect(measure(comparison([own]), 1)).rejects.toThrow('"other"');
  });

  test('adds up the counts of the measured rounds and divides them by the operations', async () => {
    const samples = [
      { seconds: 1, counts: { reads: 100 } },
      { seconds: 1, counts: { reads: 20, barriers: 1 } },
      { seconds: 1, counts: { reads: 30 } },
    ];
    const result = await measure(comparison([scripted('a', samples)]), 2);
    expect(result.contenders[0]!.counts).toEqual({ reads: 50, barriers: 1 });
    expect(result.contenders[0]!.countsPerOperation).toEqual({ reads: 2.5, barriers: 0.05 });
    expect(result.contenders[0]!.ratio).toBeNull();
  });

  test('refuses a baseline that is no contender, and passes on what a contender throws', async () => {
    const failing = { name: 'a', run: () => Promise.reject(new Error('no disk')) };
    await expect(measure(comparison([failing], { baseline: 'b' }), 1)).rejects.toThrow('"b"');
    await expect(measure(comparison([failing]), 1)).rejects.toThrow('no disk');
  });

  test('stops between two contenders when it is told to', async () => {
    const turns: string[] = [];
    const stop = new AbortController();
    const first = {
      name: 'first',
      run: () => {
        stop.abort(new Error('enough'));
        return { seconds: 1 };
      },
    };
    const contenders = [first, scripted('second', times(1), turns)];
    await expect(measure(comparison(contenders), 1, stop.signal)).rejects.toThrow('enough');
    expect(turns).toEqual([]);
  });
});

describe('spread', () => {
  test.each([
    [[5], { median: 5, min: 5, lowerQuartile: 5, upperQuartile: 5, max: 5 }],
    [[4, 1], { median: 2.5, min: 1, lowerQuartile: 1, upperQuartile: 4, max: 4 }],
    [[30, 10, 20], { median: 20, min: 10, lowerQuartile: 10, upperQuartile: 30, max: 30 }],
    [[8, 7, 6, 5, 4, 3, 2, 1], { median: 4.5, min: 1, lowerQuartile: 2, upperQuartile: 6, max: 8 }],
  ])('of %j', (values, wanted) => {
    expect(spread(values)).toEqual(wanted);
  });

  test.prop([fc.array(fc.double({ noNaN: true, min: 0, max: 1e300 }), { minLength: 1 })], seed)(
    'is in order and does not depend on the order of the values',
    (values) => {
      const { min, lowerQuartile, median, upperQuartile, max } = spread(values);
      const inOrder = [min, lowerQuartile, median, upperQuartile, max];
      expect(inOrder.toSorted((a, b) => a - b)).toEqual(inOrder);
      expect(spread(values.toReversed())).toEqual(spread(values));
      expect([min, max]).toEqual([Math.min(...values), Math.max(...values)]);
    },
  );
});
