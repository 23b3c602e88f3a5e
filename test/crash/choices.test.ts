/** Which states of a cut are looked at, counted by hand for few writes. */
import { describe, expect, it } from 'vitest';
import { type Choosable, choices, SAMPLES, tearPatterns } from '../../src/crash/choices.js';
import { PROFILES, type ProfileName } from '../../src/crash/profiles.js';
import { SeededRandom } from '../../src/crash/seeded-random.js';
import type { Tear } from '../../src/crash/states-kept.js';

/** Writes of so many pieces each, and nothing behind them; says in words which state it is in. */
class Writes implements Choosable {
  readonly count: number;
  private readonly kept: boolean[];
  private torn: ReadonlyMap<number, Tear> = new Map();

  constructor(
    private readonly sizes: readonly number[],
    private readonly isNoisy: boolean,
  ) {
    this.count = sizes.length;
    this.kept = sizes.map(() => false);
  }

  get reachableBits(): number {
    return this.sizes.reduce((sum, size) => sum + size, 0);
  }

  /** One letter a write: . lost, x kept; of a torn one its pieces. */
  get state(): string {
    return this.kept.map((isKept, write) => this.torn.get(write)?.join('') ?? (isKept ? 'x' : '.')).join(' ');
  }

  pieces(write: number): number {
    return this.sizes[write]!;
  }

  hasNoise(): boolean {
    return this.isNoisy;
  }

  keep(write: number, isKept: boolean): void {
    expect(this.torn.size).toBe(0);
    this.kept[write] = isKept;
  }

  tear(tears: ReadonlyMap<number, Tear>): void {
    for (const write of tears.keys()) expect(this.kept[write]).toBe(true);
    this.torn = tears;
  }
}

function chosen(sizes: readonly number[], profile: ProfileName = 'sector-512', seed = 1) {
  const writes = new Writes(sizes, PROFILES[profile].hasNoise);
  const found = { subset: [] as string[], tear: [] as string[], sample: [] as string[] };
  const options = { random: new SeededRandom(seed) };
  for (const kind of choices(writes, options)) found[kind].push(writes.state);
  return found;
}

const ones = (count: number): number[] => Array.from({ length: count }, () => 1);

describe('of the volatile writes of a cut', () => {
  it.each([
    [0, 1],
    [1, 2],
    [2, 4],
    [3, 8],
    [10, 1024],
  ])('%d are looked at in all their %d subsets, each once', (count, subsets) => {
    const { subset, tear, sample } = chosen(ones(count));
    expect(subset).toHaveLength(subsets);
    expect(new Set(subset).size).toBe(subsets);
    expect([tear, sample]).toEqual([[], []]);
  });

  it('none, all and the prefixes come first', () => {
    expect(chosen(ones(3)).subset.slice(0, 4)).toEqual(['. . .', 'x . .', 'x x .', 'x x x']);
  });

  it.each([
    // 12 prefixes (none and all among them); one or two kept: 11 + 55, less two prefixes; as many dropped.
    [11, 12 + 2 * (11 + 55 - 2)],
    [20, 21 + 2 * (20 + 190 - 2)],
  ])('%d are looked at in %d sets: prefixes, at most two kept, at most two dropped', (count, sets) => {
    const { subset, sample } = chosen(ones(count));
    expect(subset).toHaveLength(sets);
    expect(new Set(subset).size).toBe(sets);
    for (const state of subset) {
      const kept = state.split(' ').filter((write) => write === 'x').length;
      const isPrefix = /^(x ?)*(\. ?)*$/.test(state);
      expect(isPrefix || kept <= 2 || kept >= count - 2).toBe(true);
    }
    expect(sample).toHaveLength(SAMPLES);
  });

  it('each tears alone, with all before it, and with all others', () => {
    const { tear } = chosen([1, 2, 1]);
    expect(tear).toEqual(['. 10 .', '. 01 .', 'x 10 .', 'x 01 .', 'x 10 x', 'x 01 x']);
  });

  it('what is the same is not torn twice: the first has none before it, the last none after', () => {
    expect(chosen([2]).tear).toEqual(['10', '01']);
    expect(chosen([2, 2]).tear).toEqual(['10 .', '01 .', '10 x', '01 x', '. 10', '. 01', 'x 10', 'x 01']);
  });

  it('samples are drawn by the seed, no more than there are states', () => {
    const sizes = [8, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1];
    expect(chosen(sizes).sample).toHaveLength(256);
    expect(chosen(sizes).sample).toEqual(chosen(sizes).sample);
    expect(chosen(sizes, 'sector-512', 2).sample).not.toEqual(chosen(sizes).sample);
    expect(chosen([2, 1]).sample).toHaveLength(8);
  });
});

describe('a write tears', () => {
  it.each([
    [1, []],
    [2, ['10', '01']],
    [3, ['100', '110', '001', '101']],
    [4, ['1000', '1100', '1110', '0001', '1010']],
    [8, ['10000000', '11110000', '11111110', '00000001', '10101010']],
  ])('of %d pieces as %j', (pieces, patterns) => {
    expect(tearPatterns(pieces, false).map((tear) => tear.join(''))).toEqual(patterns);
  });

  it('into noise where it tore, a single sector too', () => {
    expect(tearPatterns(4, true).map((tear) => tear.join(''))).toEqual([
      '1200',
      '1120',
      '1112',
      '2001',
      '1210',
    ]);
    expect(chosen([1, 1], 'garbage-torn').tear).toEqual(['2 .', '2 x', '. 2', 'x 2']);
  });
});
