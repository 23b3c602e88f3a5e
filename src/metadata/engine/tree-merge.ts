/**
 * Sorted changes put into the tree: a new tree of which the pages that nothing changed in are the old one's. Nothing of
 * the old tree is written: new pages go to free places, and what they replace is free when the new root is durable.
 *
 * Invariants
 * - Every page fits, and but for the topmost one is a quarter full, or a fifth where its entries are long.
 * - The keys of a child are not below the key that its parent has for it, and below that of the next child. A child's key
 *   stays when its first keys leave, so that taking keys out makes no page longer.
 */
import { entryBytes } from './entry-codec.js';
import type { NextPages } from './free-pages.js';
import { PAGE_ROOM_BYTES } from './layout.js';
import { type BranchEntry, childBytes, encodeBranch, encodeLeaf, type LeafEntry, type Page } from './page.js';
import type { PageStore } from './page-store.js';
import { NO_PAGE, type Pointer } from './root.js';
import type { TreeTop } from './tree-reading.js';

/** A node with less than this is put together with a neighbour. */
const SPARSE_BYTES = PAGE_ROOM_BYTES / 4;

export type KeyChange = readonly [key: string, value: Uint8Array | null];

type Item = LeafEntry | BranchEntry;

/** A page that is still to be written. */
interface Node {
  /** No key of it is below this one. */
  readonly low: string;
  readonly items: readonly Item[];
  readonly bytes: number;
}

/** A child of the new tree: a page of the old one, or what is to be written. */
type Child = { readonly low: string; readonly kept: Pointer } | { readonly low: string; readonly node: Node };

export interface MergedTree extends TreeTop {
  /** By how many keys it has more than the old one. */
  readonly added: number;
}

export interface MergeSpace {
  readonly pages: PageStore;
  readonly next: NextPages;
  readonly generation: number;
}

/** `changes` ascend. The pages are begun to be written, not more (PageStore.written). */
export function mergeTree(
  space: MergeSpace,
  tree: TreeTop,
  changes: readonly KeyChange[],
): Promise<MergedTree> {
  return new Merge(space).run(tree, changes);
}

class Merge {
  private added = 0;

  constructor(private readonly space: MergeSpace) {}

  async run({ levels, top }: TreeTop, changes: readonly KeyChange[]): Promise<MergedTree> {
    let level = Math.max(0, levels - 1);
    let nodes = levels === 0 ? this.leaves('', [], changes) : await this.apply(top, level, '', changes);
    while (nodes.length > 1) {
      const items = await this.writeAll(nodes, level);
      level += 1;
      nodes = cut('', items, sizeOfChild);
    }
    const [node] = nodes;
    if (node === undefined) return { levels: 0, top: NO_PAGE, added: this.added };
    return { ...(await this.top(node, level)), added: this.added };
  }

  /** A topmost page of one child is none: the child is. */
  private async top(node: Node, level: number): Promise<TreeTop> {
    if (level === 0 || node.items.length > 1)
      return { levels: level + 1, top: await this.write(node, level) };
    // Of what is read now some may be on its way to the device.
    await this.space.pages.written();
    let only = (node.items[0] as BranchEntry).child;
    for (let below = level - 1; below > 0; below--) {
      const page = await this.space.pages.read(only, below);
      if (page.count > 1) return { levels: below + 1, top: only };
      this.space.next.free(only.page);
      only = page.childAt(0);
    }
    return { levels: 1, top: only };
  }

  /** What the page becomes: none, one or more nodes of its level. */
  private async apply(
    pointer: Pointer,
    level: number,
    low: string,
    changes: readonly KeyChange[],
  ): Promise<Node[]> {
    const page = await this.space.pages.read(pointer, level);
    this.space.next.free(pointer.page);
    if (level === 0) return this.leaves(low, page.leafEntries(), changes);
    const children = await this.applyToChildren(page, low, changes);
    const dense = await this.joinSparse(children, level - 1);
    const items: BranchEntry[] = [];
    for (const child of dense) items.push({ key: child.low, child: await this.place(child, level - 1) });
    return cut(low, items, sizeOfChild);
  }

  private leaves(low: string, entries: readonly LeafEntry[], changes: readonly KeyChange[]): Node[] {
    const merged = mergeEntries(entries, changes);
    this.added += merged.length - entries.length;
    return cut(low, merged, sizeOfEntry);
  }

  private async applyToChildren(page: Page, low: string, changes: readonly KeyChange[]): Promise<Child[]> {
    const children: Child[] = [];
    let from = 0;
    for (let index = 0; index < page.count; index++) {
      const next = index + 1 < page.count ? page.keyAt(index + 1) : null;
      let to = from;
      while (to < changes.length && (next === null || changes[to]![0] < next)) to += 1;
      const own = index === 0 ? low : page.keyAt(index);
      const child = page.childAt(index);
      if (to === from) children.push({ low: own, kept: child });
      else {
        const nodes = await this.apply(child, page.level - 1, own, changes.slice(from, to));
        for (const node of nodes) children.push({ low: node.low, node });
      }
      from = to;
    }
    return children;
  }

  /** Puts nodes that are sparse together with a neighbour, which has to be taken out of the old tree if it is kept. */
  private async joinSparse(children: readonly Child[], level: number): Promise<Child[]> {
    const joined: Child[] = [];
    const waiting = [...children];
    while (waiting.length > 0) {
      const child = waiting.shift()!;
      const isSparse = 'node' in child && child.node.bytes < SPARSE_BYTES;
      const neighbour = isSparse ? (waiting.shift() ?? joined.pop()) : undefined;
      if (neighbour === undefined) {
        joined.push(child);
        continue;
      }
      const [left, right] = child.low < neighbour.low ? [child, neighbour] : [neighbour, child];
      const items = [...(await this.itemsOf(left, level)), ...(await this.itemsOf(right, level))];
      const nodes = level === 0 ? cut(left.low, items, sizeOfEntry) : cut(left.low, items, sizeOfChild);
      const together = nodes.map((node) => ({ low: node.low, node }));
      // One that is still sparse looks for another neighbour; of two neither is.
      if (together.length === 1) waiting.unshift(...together);
      else joined.push(...together);
    }
    return joined;
  }

  private async itemsOf(child: Child, level: number): Promise<readonly Item[]> {
    if ('node' in child) return child.node.items;
    const page = await this.space.pages.read(child.kept, level);
    this.space.next.free(child.kept.page);
    return level === 0 ? page.leafEntries() : page.branchEntries();
  }

  private async writeAll(nodes: readonly Node[], level: number): Promise<BranchEntry[]> {
    const items: BranchEntry[] = [];
    for (const node of nodes) items.push({ key: node.low, child: await this.write(node, level) });
    return items;
  }

  private place(child: Child, level: number): Promise<Pointer> | Pointer {
    return 'kept' in child ? child.kept : this.write(child.node, level);
  }

  private write({ items }: Node, level: number): Promise<Pointer> {
    const { pages, next, generation } = this.space;
    const identity = { uuid: pages.uuid, number: next.allocate(), generation };
    const bytes =
      level === 0
        ? encodeLeaf(identity, items as LeafEntry[])
        : encodeBranch(identity, level, items as BranchEntry[]);
    return pages.write(identity.number, generation, level, bytes);
  }
}

const sizeOfEntry = (item: Item): number => entryBytes(item.key, (item as LeafEntry).value);
const sizeOfChild = (item: Item): number => childBytes(item.key);

function mergeEntries(entries: readonly LeafEntry[], changes: readonly KeyChange[]): LeafEntry[] {
  const merged: LeafEntry[] = [];
  let at = 0;
  for (const [key, value] of changes) {
    while (at < entries.length && entries[at]!.key < key) merged.push(entries[at++]!);
    if (at < entries.length && entries[at]!.key === key) at += 1;
    if (value !== null) merged.push({ key, value });
  }
  for (; at < entries.length; at++) merged.push(entries[at]!);
  return merged;
}

/**
 * Items in nodes of about the same size, each of which fits. Where they are cut is counted over all of them, so that
 * what one node has too much the last one does not lack.
 */
function cut(low: string, items: readonly Item[], sizeOf: (item: Item) => number): Node[] {
  const sizes = items.map(sizeOf);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (items.length === 0) return [];
  if (bytes <= PAGE_ROOM_BYTES) return [{ low, items, bytes }];
  const count = Math.ceil(bytes / (PAGE_ROOM_BYTES - longest(sizes)));
  const nodes: Node[] = [];
  let start = 0;
  let startBytes = 0;
  let sum = 0;
  for (let at = 0; at < items.length; at++) {
    sum += sizes[at]!;
    const isLast = at + 1 === items.length;
    if (!isLast && sum < ((nodes.length + 1) * bytes) / count) continue;
    const own = start === 0 ? low : items[start]!.key;
    nodes.push({ low: own, items: items.slice(start, at + 1), bytes: sum - startBytes });
    start = at + 1;
    startBytes = sum;
  }
  return nodes;
}

function longest(sizes: readonly number[]): number {
  return sizes.reduce((most, size) => Math.max(most, size), 0);
}
