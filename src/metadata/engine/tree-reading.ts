/** Ways through the tree, from its top page to a leaf. Whoever reads holds the tree's pages (FreePages.pin). */
import type { Page } from './page.js';
import type { PageStore } from './page-store.js';
import type { Root } from './root.js';

export type TreeTop = Pick<Root, 'levels' | 'top'>;

/** A leaf, and where the keys of the next one begin; null: there is none. */
export interface FoundLeaf {
  readonly page: Page;
  readonly upTo: string | null;
}

/** The leaf that has the key, if the tree has it. null: the tree is empty. */
export async function leafFor(
  pages: PageStore,
  { levels, top }: TreeTop,
  key: string,
): Promise<FoundLeaf | null> {
  if (levels === 0) return null;
  let pointer = top;
  let upTo: string | null = null;
  for (let level = levels - 1; level > 0; level--) {
    const page = await pages.read(pointer, level);
    const child = page.childFor(key);
    if (child + 1 < page.count) upTo = page.keyAt(child + 1);
    pointer = page.childAt(child);
  }
  return { page: await pages.read(pointer, 0), upTo };
}

/** A copy of the value; null: there is none. */
export async function valueIn(pages: PageStore, tree: TreeTop, key: string): Promise<Uint8Array | null> {
  const leaf = await leafFor(pages, tree, key);
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
