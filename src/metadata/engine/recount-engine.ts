/**
 * Makes the allocation map and the counts of an engine anew from its tree, where all pages of that are good. For fsck,
 * after damaged copies were mended, while nobody else writes.
 *
 * It is a checkpoint of nothing (checkpoint.ts): the map goes where that of the next root goes, is flushed, and then the
 * root is written. A cut leaves the root that was there, with its map. The log begins where it began.
 */
import { checkTree } from './check-tree.js';
import { writeAllocation } from './checkpoint.js';
import { type EngineRange, rootOffset } from './layout.js';
import { PageStore } from './page-store.js';
import { readEngine } from './recovery.js';
import { encodeRoot } from './root.js';

/** Does nothing where the counts are right, or the tree is damaged. Throws what readEngine throws. */
export async function recountEngine(range: EngineRange): Promise<void> {
  const { halves, header, root, map } = await readEngine(range);
  const { uuid, layout } = header;
  const pages = new PageStore(halves, { uuid, layout, cacheBytes: 0, warn: () => undefined });
  const { findings, counted } = await checkTree({ halves, layout, pages, root, map });
  const isWrong = findings.some(({ code }) => code === 'COUNT_WRONG' || code === 'PAGE_LEAKED');
  if (counted === null || !isWrong) return;
  const generation = root.generation + 1;
  await writeAllocation({ halves, layout, uuid }, counted.map, generation);
  await halves.flush();
  const next = { ...root, generation, entries: counted.entries, pagesUsed: counted.map.count };
  await halves.write(rootOffset(generation), encodeRoot(next, uuid), { fua: true });
}
