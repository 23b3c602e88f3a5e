/** Ways through the tree, from its top page to a leaf. Whoever reads holds the tree's pages (FreePages.pin). */
import type { Page } from './page.js';
import type { PageStore } from './page-store.js';
import type { Pointer, Root } from './root.js';

export type TreeTop = Pick<Root, 'levels' | 'top'>;

/** A leaf, and where the keys of the next one begin; null: there is none. */
export interface FoundLeaf {
  readonly page: Page;
  readonly upTo: string | null;
}

/** The leaf that has the key, if the tree has it. null: the tree is empty. */
export async function leafFor(pages: PageStore, tree: TreeTop, key: string): Promise<FoundLeaf | null> {
  const way = descend(tree, key);
  let step = way.next();
  while (step.done !== true) step = way.next(await pages.read(step.value.pointer, step.value.level));
  return step.value;
}

/** The same, where all pages on the way are in memory: most of them are, and a wait for each takes longer than the search. */
export function leafInMemory(pages: PageStore, tree: TreeTop, key: string): FoundLeaf | null | undefined {
  const way = descend(tree, key);
  let step = way.next();
  while (step.done !== true) {
    const page = pages.cached(step.value.pointer);
    if (page === undefined) return undefined;
    step = way.next(page);
  }
  return step.value;
}

/** Asks for one page after another; ends with the leaf. */
function* descend(
  { levels, top }: TreeTop,
  key: string,
): Generator<{ readonly pointer: Pointer; readonly level: number }, FoundLeaf | null, Page> {
  if (levels === 0) return null;
  let pointer = top;
  let upTo: string | null = null;
  for (let level = levels - 1; level > 0; level--) {
    const page: Page = yield { pointer, level };
    const child = page.childFor(key);
    if (child + 1 < page.count) upTo = page.keyAt(child + 1);
    pointer = page.childAt(child);
  }
  return { page: yield { pointer, level: 0 }, upTo };
}

/** A copy of the value; null: there is none. */
export async function valueIn(pages: PageStore, tree: TreeTop, key: string): Promise<Uint8Array | null> {
  return leafValue(await leafFor(pages, tree, key), key);
}

/** The same; undefined: pages on the way are not in memory. */
export function valueInMemory(pages: PageStore, tree: TreeTop, key: string): Uint8Array | null | undefined {
  const leaf = leafInMemory(pages, tree, key);
  return leaf === undefined ? undefined : leafValue(leaf, key);
}

function leafValue(leaf: FoundLeaf | null, key: string): Uint8Array | null {
  if (leaf === null) return null;
  const { page } = leaf;
  const at = page.countBelow(key, false);
  return at < page.count && page.keyAt(at) === key ? page.valueAt(at).slice() : null;
}

/** What a leaf holds from `from` up to and without `to`. */
export function* leafRange({ page }: FoundLeaf, from: string, to: string): Generator<[string, Uint8Array]> {
  for (let at = page.countBelow(from, false); at < page.count; at++) {
    const key = page.keyAt(at);
    if (key >= to) return;
    yield [key, page.valueAt(at)];
  }
}
