/** What several maps have between them, as runs: nothing is put together but what is asked for. */
import type { BlockRange } from '../../replication/blocks.js';
import type { BlockMap } from '../../replication/map/block-map.js';

/**
 * Runs of the range that one of the maps has, ascending, none of which follows on another. It looks at the range, and in each map
 * at the pages behind it up to the next run. What is set or cleared meanwhile may be told or not.
 */
export function* runsOfAny(
  maps: readonly BlockMap[],
  { from, count }: BlockRange,
): Generator<BlockRange, void, undefined> {
  const end = from + count;
  /** Of each map its first run that was not taken yet. */
  const heads = maps.map((map) => map.next(from, count));
  for (;;) {
    const start = heads.reduce((first, head) => Math.min(first, head?.from ?? end), end);
    if (start >= end) return;
    let stop = start;
    for (let isGrowing = true; isGrowing; ) {
      isGrowing = false;
      for (const [at, head] of heads.entries()) {
        if (head === null || head.from > stop) continue;
        stop = Math.max(stop, Math.min(head.from + head.count, end));
        heads[at] = stop < end ? maps[at]!.next(stop, end - stop) : null;
        isGrowing = true;
      }
    }
    yield { from: start, count: stop - start };
  }
}
