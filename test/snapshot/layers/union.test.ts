/** Runs of several maps together: what a map has that was put together of them all. */
import { expect, it } from 'vitest';
import { BlockMap } from '../../../src/replication/map/block-map.js';
import { runsOfAny } from '../../../src/snapshot/layers/union.js';
import { withSeed } from '../../support/devices/seeded-random.js';

/** More than a page of the map. */
const BLOCKS = 300_000;

it('are those of the union, of whatever range', async () => {
  await withSeed(async (random) => {
    for (let round = 0; round < 200; round++) {
      const maps = Array.from({ length: random.between(0, 4) }, () => new BlockMap(BLOCKS));
      const union = new BlockMap(BLOCKS);
      const near = random.below(BLOCKS - 200);
      for (const map of maps) {
        for (let left = random.below(12); left > 0; left--) {
          const from = random.chance(0.8) ? near + random.below(100) : random.below(BLOCKS);
          map.set({
            from,
            count: Math.min(BLOCKS - from, random.between(1, random.chance(0.1) ? 150_000 : 6)),
          });
        }
        union.add(map);
      }
      const from = random.chance(0.3) ? 0 : near + random.below(100);
      const range = { from, count: random.chance(0.3) ? BLOCKS - from : random.below(100) };
      expect([...runsOfAny(maps, range)]).toEqual([...union.runsWithin(range)]);
    }
  });
});
