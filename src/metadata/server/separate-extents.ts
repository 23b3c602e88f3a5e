/**
 * An extent that is in two places gets a copy for one of them, so that neither is changed any more by what is written to
 * the other: both read what they have read before. Which of the two it belongs to cannot be told.
 *
 * A journal extent stays whose it is, and of maps the first one keeps the extent. A copy is durable before a map leads to
 * it, and each is a commit of its own: after a cut what is left of them is found again, and no extent is lost.
 */
import { hasBit, noBits, setBit } from '../bits.js';
import type { MetadataEngine } from '../engine/contract.js';
import { numberOf } from './keys.js';
import { decodeEntry, putEntry } from './maps.js';
import { allocate } from './pool.js';
import { RebuildWork } from './rebuild-work.js';

/** `copy` makes the content of one extent that of another, durably. Throws NO_SPACE, and what `copy` throws. */
export async function separateExtents(
  engine: MetadataEngine,
  copy: (from: number, to: number) => Promise<void>,
): Promise<void> {
  const work = await RebuildWork.over(engine);
  const { state } = work;
  const { extents, blocksPerExtent } = state.config;
  const used = noBits(extents);
  for await (const { key: at } of work.under('J'))
    if (numberOf(at, 0) < extents) setBit(used, numberOf(at, 0));
  for await (const { key: at, value } of work.under('E')) {
    const entry = decodeEntry(value, blocksPerExtent);
    const { extent } = entry;
    if (extent === null || extent >= extents) continue;
    if (!hasBit(used, extent)) {
      setBit(used, extent);
      continue;
    }
    const [own] = await allocate(state, { count: 1, avoid: [], ownReserve: 0 }, new Set());
    await copy(extent, own!);
    putEntry(state, numberOf(at, 0), numberOf(at, 1), { ...entry, extent: own! });
    await work.commitPart(true);
  }
}
