/** Where the content of kept blocks lies: what a map of objects would say, in a tenth of its memory. */
import { describe, expect, it } from 'vitest';
import { PlaceTable } from '../../../src/snapshot/layers/place-table.js';
import { withSeed } from '../../support/devices/seeded-random.js';

/** Of the volume whose blocks these are: 64 TiB. */
const MANY_BLOCKS = 2 ** 34;

describe('a table of places', () => {
  it('knows of each block what was said last, and of no other anything', async () => {
    await withSeed(async (random) => {
      const table = new PlaceTable();
      const expected = new Map<number, { position: number; checksum: number }>();
      const near = random.below(2 ** 31);
      for (let count = 0; count < 60_000; count++) {
        const block = random.chance(0.7) ? near + random.below(50_000) : 4 * random.below(MANY_BLOCKS / 4);
        const place = { position: random.below(2 ** 31) * 2 ** 13 + 7, checksum: random.below(2 ** 31) * 2 };
        table.set(block, place);
        expected.set(block, place);
      }
      expect(table.size).toBe(expected.size);
      for (const [block, place] of expected) expect(table.get(block)).toEqual(place);
      for (let count = 0; count < 1000; count++) {
        const block = near + random.below(100_000);
        expect(table.get(block)).toEqual(expected.get(block));
      }
    });
  });

  it('takes position 0, and a region of which all blocks are kept', () => {
    const table = new PlaceTable();
    for (let block = 0; block < 70_000; block++)
      table.set(block, { position: block * 4096, checksum: block });
    for (let block = 0; block < 70_000; block++)
      expect(table.get(block)).toEqual({ position: block * 4096, checksum: block });
    expect([table.size, table.get(70_000)]).toEqual([70_000, undefined]);
  });

  it('takes less than 50 bytes a block, near one another or not, and 64 where there are few', () => {
    for (const stride of [1, 64, 4096]) {
      const table = new PlaceTable();
      for (let count = 0; count < 40_000; count++)
        table.set(count * stride, { position: count, checksum: 0 });
      expect(table.bytes / table.size).toBeLessThan(stride === 4096 ? 64 : 50);
    }
  });
});
