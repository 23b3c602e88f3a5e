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
import { allocationPieces } from './allocation.js';
import type { FreePages, PageMap } from './free-pages.js';
import type { Halves } from './halves.js';
import { allocationOffset, type Layout, PAGE_BYTES, rootOffset } from './layout.js';
import type { LogPlace } from './log-writer.js';
import { encodeAllocation } from './page.js';
import type { PageStore } from './page-store.js';
import { encodeRoot, type Root } from './root.js';
import { changesThatFit } from './tree-growth.js';
import { type KeyChange, mergeTree } from './tree-merge.js';

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
  { space }: CheckpointParts,
  { levels }: Root,
  changes: readonly KeyChange[],
): Promise<number> {
  const bytes = changes.reduce((sum, [key, value]) => sum + key.length + (value?.byteLength ?? 0), 0);
  const count = () =>
    changesThatFit(
      space.allocatableCount,
      { live: space.liveCount, levels },
      { puts: changes.length, bytes },
    );
  // Readers give back what they hold in a moment.
  if (count() === 0) await space.released();
  return Math.max(1, count());
}

async function writeAllocation(
  { halves, layout, uuid }: CheckpointParts,
  map: PageMap,
  generation: number,
): Promise<void> {
  const offset = allocationOffset(layout, generation);
  const pieces = allocationPieces(map.bits, layout);
  const writes = pieces.map((bits, number) =>
    halves.write(offset + number * PAGE_BYTES, encodeAllocation({ uuid, number, generation }, bits)),
  );
  for (const outcome of await Promise.allSettled(writes)) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}
