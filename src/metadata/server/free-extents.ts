/** Which extents of the pool are free, from the metadata alone: for who copies a volume and leaves them out. */
import { hasBit } from '../bits.js';
import type { MetadataEngine } from '../engine/contract.js';
import { readConfig } from './format.js';
import { key, numberOf, under } from './keys.js';
import { GROUP_EXTENTS, type Span } from './pool.js';

/** In ascending order. Throws what readConfig throws. */
export async function* freeExtents(engine: Pick<MetadataEngine, 'get' | 'entries'>): AsyncGenerator<Span> {
  const { extents } = await readConfig(engine);
  // A group without a key has no extent that is taken.
  let free = 0;
  const { from, to } = under(key('G'));
  for await (const entry of engine.entries(from, to)) {
    const start = numberOf(entry.key, 0) * GROUP_EXTENTS;
    const end = Math.min(start + GROUP_EXTENTS, extents);
    for (let extent = start; extent < end; extent++) {
      if (!hasBit(entry.value, extent - start)) continue;
      if (extent > free) yield { from: free, count: extent - free };
      free = extent + 1;
    }
  }
  if (extents > free) yield { from: free, count: extents - free };
}
