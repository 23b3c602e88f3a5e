/**
 * Measures a comparison in interleaved rounds (A B C, C B A, ...), so that what slows the machine for a while
 * slows all contenders alike, and whoever comes first in one round comes last in the next.
 *
 * - One round before the first is not counted: compilers, caches and page tables warm up in it.
 * - A ratio is taken within each round, from neighbours in time, and summarised afterwards.
 * - The median and the spread are shown, never the best.
 */
import type { Comparison, Contender, Counts, Latency, Sample } from './bench.js';

/** Of the rounds' values. Quartiles are nearest ranks. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly max: number;
}

export interface ContenderResult {
  readonly name: string;
  readonly seconds: Spread;
  /** Bytes a second in the median round. */
  readonly speedBytes: number;
  /** Whom it is compared with; null for the baseline and without one. */
  readonly against: string | null;
  /** Its speed over that one's, round by round: more than 1 is faster. */
  readonly ratio: Spread | null;
  /** Of the rounds' latencies; null where single requests are not timed. */
  readonly latency: Readonly<Record<keyof Latency, Spread>> | null;
  /** Over all rounds that were measured. */
  readonly counts: Counts;
  readonly countsPerOperation: Counts;
}

export interface ComparisonResult {
  readonly title: string;
  readonly roundBytes: number;
  readonly operations: number;
  readonly rounds: number;
  readonly baseline: string | null;
  readonly contenders: readonly ContenderResult[];
}

/**
 * Runs `rounds` (1 or more) measured rounds after one that is not.
 *
 * @throws whatever a contender throws, and the signal's reason between two of them.
 */
export async function measure(
  comparison: Comparison,
  rounds: number,
  signal?: AbortSignal,
): Promise<ComparisonResult> {
  const { baseline, contenders } = comparison;
  for (const against of [baseline, ...contenders.map((contender) => contender.against ?? null)])
    if (against !== null && !contenders.some(({ name }) => name === against))
      throw new Error(`"${comparison.title}" is to be compared with "${against}", which is not in it.`);
  const samples = new Map<Contender, Sample[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      signal?.throwIfAborted();
      await comparison.reset?.();
      const sample = await contender.run();
      if (round > 0) samples.get(contender)!.push(sample);
    }
  }
  return summarise(comparison, rounds, samples);
}

function summarise(
  comparison: Comparison,
  rounds: number,
  samples: ReadonlyMap<Contender, readonly Sample[]>,
): ComparisonResult {
  const { title, roundBytes, operations, baseline, contenders } = comparison;
  const samplesOf = (wanted: string): readonly Sample[] =>
    samples.get(contenders.find(({ name }) => name === wanted)!)!;
  return {
    title,
    roundBytes,
    operations,
    rounds,
    baseline,
    contenders: contenders.map((contender) => {
      const own = samples.get(contender)!;
      const seconds = spread(own.map((sample) => sample.seconds));
      const counts = sum(own);
      const chosen = contender.against ?? baseline;
      const against = chosen === contender.name ? null : chosen;
      return {
        name: contender.name,
        seconds,
        speedBytes: Math.round(roundBytes / seconds.median),
        against,
        ratio: against === null ? null : ratio(samplesOf(against), own),
        latency: latenciesOf(own),
        counts,
        countsPerOperation: divided(counts, operations * rounds),
      };
    }),
  };
}

function ratio(base: readonly Sample[], own: readonly Sample[]): Spread {
  return spread(own.map((sample, round) => base[round]!.seconds / sample.seconds));
}

function latenciesOf(samples: readonly Sample[]): ContenderResult['latency'] {
  const known = samples.flatMap(({ latency }) => latency ?? []);
  if (known.length === 0) return null;
  return {
    p50Ms: spread(known.map(({ p50Ms }) => p50Ms)),
    p99Ms: spread(known.map(({ p99Ms }) => p99Ms)),
  };
}

/** Of the times of single requests in one round, one or more. */
export function latencyOf(timesMs: readonly number[]): Latency {
  const rank = ranks(timesMs);
  return { p50Ms: rank(0.5), p99Ms: rank(0.99) };
}

/** Of one value or more. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = ranks(values);
  const middle = sorted.length / 2;
  const median = Number.isInteger(middle) ? (sorted[middle - 1]! + sorted[middle]!) / 2 : rank(0.5);
  return { median, min: rank(0), lowerQuartile: rank(0.25), upperQuartile: rank(0.75), max: rank(1) };
}

/** Nearest ranks. */
function ranks(values: readonly number[]): (part: number) => number {
  const sorted = values.toSorted((a, b) => a - b);
  return (part) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]!;
}

function sum(samples: readonly Sample[]): Counts {
  const total: Record<string, number> = {};
  for (const { counts = {} } of samples)
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
  return total;
}

function divided(counts: Counts, by: number): Counts {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, count / by]));
}
