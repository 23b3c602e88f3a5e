/**
 * How many pages changes may take, at the worst: by how many the tree may grow, and how many a checkpoint needs free at
 * once, because the pages that it replaces are free only when it is done.
 */
import { CHANGE_OVERHEAD_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES } from './contract.js';
import { PAGE_ROOM_BYTES } from './layout.js';
import type { Amount } from './overlay.js';

/** A page is cut in two only if there is more than this for it: the longest entry always fits beside that. */
const LEAST_CUT_BYTES = PAGE_ROOM_BYTES - (CHANGE_OVERHEAD_BYTES + MAX_KEY_BYTES + MAX_VALUE_BYTES);
/** Levels of branches are less than a tenth of the leaves: a branch has 22 children or more. */
const WITH_BRANCHES = 1.1;
const EDGE_PAGES = 16;

/** Kept free for checkpoints: with so many each change can be made by itself, whatever the tree. */
const LEAST_FREE_PAGES = 32;
/** What is kept free of the range for what makes the tree smaller. */
const RESERVE_SHARE = 32;

/** Pages that what makes the tree larger leaves free. */
export function reservePages(pages: number): number {
  return LEAST_FREE_PAGES + Math.max(8, Math.ceil(pages / RESERVE_SHARE));
}

/** Whether a tree of `live` pages may grow by so much. `isShrinking`: what is stored gets no longer by it. */
export function fits(pages: number, live: number, amount: Amount, isShrinking: boolean): boolean {
  const kept = isShrinking ? LEAST_FREE_PAGES : reservePages(pages);
  return live + growthPages(live, amount) + kept <= pages;
}

/** Each put cuts one leaf at the most, and as many branches over all. */
function growthPages(live: number, amount: Amount): number {
  return Math.min(2 * amount.puts, growthByBytes(live, amount));
}

/** Each page is cut once at the most, but for what is new. */
function growthByBytes(live: number, { puts, bytes }: Amount): number {
  const added = bytes + CHANGE_OVERHEAD_BYTES * puts;
  return live + Math.ceil((WITH_BRANCHES * added) / LEAST_CUT_BYTES) + EDGE_PAGES;
}

/** Whether one root may take all of some changes, each counted as a put, with so many pages free. */
export function fitsAtOnce(free: number, live: number, changes: Amount): boolean {
  return live + growthByBytes(live, changes) <= free;
}

/**
 * Pages that are written for changes of one leaf. All on the way to it is written anew, and at each level one more by a
 * cut and one by a join with a neighbour; what is new takes pages of its own.
 */
export function pagesForLeaf(levels: number, { puts, bytes }: Amount): number {
  return 3 * (levels + 1) + 2 * Math.floor((bytes + CHANGE_OVERHEAD_BYTES * puts) / LEAST_CUT_BYTES);
}
