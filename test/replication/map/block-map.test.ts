/** The map of blocks in memory, held to a plain set; and that what it costs goes by what is in it. */
import { describe, expect, it } from 'vitest';
import { BlockMap } from '../../../src/replication/map/block-map.js';
import { PAGE_BITS } from '../../../src/replication/map/words.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';

const TIB_BLOCKS = 2 ** 40 / 4096;

/** A map and the set that it must be. */
class Pair {
  readonly map: BlockMap;
  readonly model = new Set<number>();

  constructor(readonly blocks: number) {
    this.map = new BlockMap(blocks);
  }

  change(random: SeededRandom): void {
    const from = random.below(this.blocks);
    const most = random.chance(0.2) ? this.blocks : 100;
    const count = random.below(Math.min(most, this.blocks - from) + 1);
    const isSet = random.chance(0.5);
    for (let at = from; at < from + count; at++) {
      if (isSet) this.model.add(at);
      else this.model.delete(at);
    }
    if (isSet) this.map.set({ from, count });
    else this.map.clear({ from, count });
  }

  /** Runs of the model from a block on, with so many blocks at most. */
  ranges(from: number, most: number) {
    const found: { from: number; count: number }[] = [];
    for (let at = from, left = most; at < this.blocks && left > 0; at++) {
      if (!this.model.has(at)) continue;
      const last = found.at(-1);
      if (last !== undefined && last.from + last.count === at) last.count += 1;
      else found.push({ from: at, count: 1 });
      left -= 1;
    }
    return found;
  }
}

describe('the map', () => {
  it('is a set of blocks (paragraphs 57 and 58)', async () => {
    await withSeed(async (random) => {
      for (let round = 0; round < 30; round++) {
        const pair = new Pair(random.between(1, 3 * PAGE_BITS));
        for (let step = 0; step < 60; step++) {
          pair.change(random);
          const { map, model, blocks } = pair;
          expect(map.count).toBe(model.size);
          expect(map.isEmpty).toBe(model.size === 0);
          const at = random.below(blocks);
          expect(map.has(at)).toBe(model.has(at));
          const most = random.between(1, blocks);
          expect(map.rangesFrom(at, most)).toEqual(pair.ranges(at, most));
          const range = { from: at, count: random.below(Math.min(200, blocks - at) + 1) };
          const within = Array.from({ length: range.count }, (_, each) => at + each);
          expect(map.meets(range)).toBe(within.some((block) => model.has(block)));
          expect(
            [...map.gapsWithin(range)].flatMap(({ from, count }) =>
              within.slice(from - at, from - at + count),
            ),
          ).toEqual(within.filter((block) => !model.has(block)));
        }
        expect([...pair.map.runs()]).toEqual(pair.ranges(0, pair.blocks));
      }
    });
  });

  it('takes in another one, and is told from it', async () => {
    await withSeed(async (random) => {
      for (let round = 0; round < 30; round++) {
        const blocks = random.between(1, 3 * PAGE_BITS);
        const [one, other] = [new Pair(blocks), new Pair(blocks)];
        for (let step = 0; step < 10; step++) for (const pair of [one, other]) pair.change(random);
        const isEqual = one.ranges(0, blocks).join() === other.ranges(0, blocks).join();
        expect(one.map.equals(other.map)).toBe(
          isEqual &&
            [...one.model].every((each) => other.model.has(each)) &&
            one.model.size === other.model.size,
        );
        one.map.add(other.map);
        for (const each of other.model) one.model.add(each);
        expect([...one.map.runs()]).toEqual(one.ranges(0, blocks));
        expect(one.map.count).toBe(one.model.size);
        const again = new BlockMap(blocks);
        for (const range of one.map.runs()) again.set(range);
        expect(again.equals(one.map)).toBe(true);
      }
    });
  });

  it('refuses blocks that the volume has not', () => {
    const map = new BlockMap(100);
    for (const range of [
      { from: 100, count: 1 },
      { from: -1, count: 2 },
      { from: 0, count: 101 },
      { from: 1, count: -1 },
    ]) {
      expect(() => map.set(range)).toThrow(RangeError);
      expect(() => map.clear(range)).toThrow(RangeError);
    }
    expect(map.has(100)).toBe(false);
  });
});

describe('pages', () => {
  it('are made when a bit of them is first set, and go with the last one (paragraphs 58 and 100)', () => {
    const map = new BlockMap(TIB_BLOCKS);
    expect(map.pagesThere).toBe(0);
    map.set({ from: PAGE_BITS - 1, count: 2 });
    expect([...map.pages()]).toEqual([0, 1]);
    map.clear({ from: 0, count: PAGE_BITS });
    expect([...map.pages()]).toEqual([1]);
    map.clear({ from: PAGE_BITS, count: 1 });
    expect(map.pagesThere).toBe(0);
    expect(map.isEmpty).toBe(true);
  });

  it('that are full are one page, until one of them is not', () => {
    const map = new BlockMap(TIB_BLOCKS);
    map.setAll();
    expect(map.count).toBe(TIB_BLOCKS);
    expect([...map.runs()]).toEqual([{ from: 0, count: TIB_BLOCKS }]);
    expect(map.page(0)).toBe(map.page(1));
    map.clear({ from: 5, count: 1 });
    expect(map.has(5)).toBe(false);
    expect(map.has(PAGE_BITS + 5)).toBe(true);
    expect([...map.runs()]).toEqual([
      { from: 0, count: 5 },
      { from: 6, count: TIB_BLOCKS - 6 },
    ]);
    map.clearAll();
    expect(map.count).toBe(0);
  });

  it('that are absent are passed by: 1,000 blocks of a TiB, in few steps (paragraph 98.5)', () => {
    const map = new BlockMap(TIB_BLOCKS);
    const blocks = Array.from({ length: 1000 }, (_, at) => at * 268_000 + 17);
    for (const from of blocks) map.set({ from, count: 1 });
    expect(map.pagesThere).toBe(1000);
    expect([...map.runs()].map(({ from }) => from)).toEqual(blocks);
    expect(map.rangesFrom(blocks[500]!, 3)).toEqual(
      blocks.slice(500, 503).map((from) => ({ from, count: 1 })),
    );
  });

  it('may change while somebody goes through the runs', () => {
    const map = new BlockMap(10_000);
    for (const from of [1, 5000, 9000]) map.set({ from, count: 2 });
    const found: number[] = [];
    for (const { from, count } of map.runs()) {
      found.push(from);
      map.clear({ from, count });
      if (from === 1) map.set({ from: 7000, count: 1 });
      if (from === 5000) map.clear({ from: 9000, count: 2 });
    }
    expect(found).toEqual([1, 5000, 7000]);
    expect(map.isEmpty).toBe(true);
  });
});
