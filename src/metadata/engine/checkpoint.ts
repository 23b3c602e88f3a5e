/**
 * Makes the next tree of the one that is there and of changes, and its root durable.
 *
 * The order: pages and allocation map to free places of both halves; a flush; the root, with fua, into the slot in which
 * the newest root does not lie. A root that is there after a crash has all its pages; one that is not there left all
 * pages of the one before it as they were. Only when the root is durable in both halves are the old tree's pages free,
 * and the log's room before the root's position.
 *
 * With few pages free the changes go into the tree a part at a time, each with a root of its own. These roots leave the
 * log where it begins: what is in the tree already is put into it once more by the log, and comes to the same, because
 * the log has all that they have. So nothing of the tree is ever ahead of the log.
 */
import { allEnded } from '../../device/all-ended.js';
import { allocationPieces } from './allocation.js';
import type { FreePages, PageMap } from './free-pages.js';
import type { Halves } from './halves.js';
import { allocationOffset, type Layout, PAGE_BYTES, rootOffset } from './layout.js';
import type { LogPlace } from './log-writer.js';
import type { Amount } from './overlay.js';
import { encodeAllocation } from './page.js';
import type { PageStore } from './page-store.js';
import { encodeRoot, type Root } from './root.js';
import { fitsAtOnce, pagesForLeaf } from './tree-growth.js';
import { type KeyChange, mergeTree } from './tree-merge.js';
import { leafFor } from './tree-reading.js';

export interface CheckpointParts {
  readonly halves: Halves;
  readonly layout: Layout;
  readonly uuid: Uint8Array;
  readonly epoch: number;
  readonly pages: PageStore;
  readonly space: FreePages;
}

export interface NextTree {
  readonly root: Root;
  readonly pages: { readonly map: PageMap; readonly freed: readonly number[] };
}

/** The first of `changes` that fit into free pages, and where the log is read from when all of them are in the tree. */
export async function writeNextTree(
  parts: CheckpointParts,
  root: Root,
  changes: readonly KeyChange[],
  log: LogPlace,
): Promise<NextTree & { readonly left: readonly KeyChange[] }> {
  const count = await countThatFits(parts, root, changes);
  const isAll = count === changes.length;
  const { halves, uuid, epoch, pages, space } = parts;
  const next = space.next();
  const generation = root.generation + 1;
  const merged = await mergeTree({ pages, next, generation }, root, changes.slice(0, count));
  await pages.written();
  await writeAllocation(parts, next.map, generation);
  await halves.flush();
  const nextRoot: Root = {
    generation,
    // Where the log stays as it is, what earlier openings wrote there still counts.
    epoch: isAll ? epoch : root.epoch,
    logPosition: isAll ? log.position : root.logPosition,
    logSequence: isAll ? log.sequence : root.logSequence,
    entries: root.entries + merged.added,
    pagesUsed: next.map.count,
    levels: merged.levels,
    top: merged.top,
  };
  await halves.write(rootOffset(generation), encodeRoot(nextRoot, uuid), { fua: true });
  return { root: nextRoot, pages: next, left: changes.slice(count) };
}

async function countThatFits(
  parts: CheckpointParts,
  root: Root,
  changes: readonly KeyChange[],
): Promise<number> {
  const { space } = parts;
  if (fitsAtOnce(space.allocatableCount, space.liveCount, amountOf(changes))) return changes.length;
  // Readers give back what they hold in a moment.
  await space.released();
  let left = space.allocatableCount - 1;
  let count = 0;
  while (count < changes.length) {
    const ofLeaf = await changesOfLeaf(parts, root, changes, count);
    left -= pagesForLeaf(root.levels, amountOf(ofLeaf));
    if (left < 0) break;
    count += ofLeaf.length;
  }
  // One by itself fits always: so many pages are kept free.
  return Math.max(1, count);
}

function amountOf(changes: readonly KeyChange[]): Amount {
  const bytes = changes.reduce((sum, [key, value]) => sum + key.length + (value?.byteLength ?? 0), 0);
  return { puts: changes.length, bytes };
}

/** Those from `start` on that are for the same leaf as the first of them. */
async function changesOfLeaf(
  { pages }: CheckpointParts,
  root: Root,
  changes: readonly KeyChange[],
  start: number,
): Promise<readonly KeyChange[]> {
  const leaf = await leafFor(pages, root, changes[start]![0]);
  const upTo = leaf?.upTo ?? null;
  let end = start + 1;
  while (end < changes.length && (upTo === null || changes[end]![0] < upTo)) end += 1;
  return changes.slice(start, end);
}

/** Of the root of this generation. */
export async function writeAllocation(
  { halves, layout, uuid }: Pick<CheckpointParts, 'halves' | 'layout' | 'uuid'>,
  map: PageMap,
  generation: number,
): Promise<void> {
  const offset = allocationOffset(layout, generation);
  const pieces = allocationPieces(map.bits, layout);
  const writes = pieces.map((bits, number) =>
    halves.write(offset + number * PAGE_BYTES, encodeAllocation({ uuid, number, generation }, bits)),
  );
  await allEnded(writes);
}
