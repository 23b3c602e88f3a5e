/**
 * The tree against itself and against the map of pages in use: each page by both copies, keys where their parents say,
 * no page twice, none that the map has free, and none in the map that the tree does not have (a leak: the page is lost
 * until somebody makes the map anew).
 */
import type { MetadataFinding, MetadataFindingCode } from './findings.js';
import { PageMap } from './free-pages.js';
import type { Halves } from './halves.js';
import { type Layout, PAGE_BYTES, pageOffset } from './layout.js';
import type { Page } from './page.js';
import { type PageStore, pagePlace } from './page-store.js';
import { type Mend, mendsOf } from './recovery.js';
import type { Pointer, Root } from './root.js';

export interface CheckedTree {
  readonly halves: Halves;
  readonly layout: Layout;
  readonly pages: PageStore;
  readonly root: Root;
  /** null: it could not be read. */
  readonly map: PageMap | null;
}

/** The keys that a page may have: from `low` up to and without `high` (null: to the last). */
interface Bounds {
  readonly low: string;
  readonly high: string | null;
}

export interface TreeFindings {
  readonly findings: readonly MetadataFinding[];
  /** Pages of which one copy is no good. */
  readonly mends: readonly Mend[];
  /** The pages that the tree has, and its keys; null: it could not be gone through. */
  readonly counted: { readonly map: PageMap; readonly entries: number } | null;
}

export function checkTree(tree: CheckedTree): Promise<TreeFindings> {
  return new TreeCheck(tree).run();
}

class TreeCheck {
  private readonly findings: MetadataFinding[] = [];
  private readonly mends: Mend[] = [];
  private readonly reached: PageMap;
  private entries = 0;
  private isWhole = true;

  constructor(private readonly tree: CheckedTree) {
    this.reached = new PageMap(tree.layout.pages);
  }

  async run(): Promise<TreeFindings> {
    const { levels, top } = this.tree.root;
    if (levels > 0) await this.page(top, levels - 1, { low: '', high: null });
    // Of a tree that could not be gone through, what is missing says nothing.
    if (this.isWhole) this.compareAll();
    const counted = this.isWhole ? { map: this.reached, entries: this.entries } : null;
    return { findings: this.findings, mends: this.mends, counted };
  }

  private compareAll(): void {
    const { top, entries } = this.tree.root;
    if (this.entries !== entries)
      this.find('COUNT_WRONG', top.page, `the tree has ${this.entries} keys, and its root says ${entries}`);
    this.compareMap();
  }

  private async page(pointer: Pointer, level: number, bounds: Bounds): Promise<void> {
    const number = pointer.page;
    if (number >= this.tree.layout.pages) {
      this.lose('PAGE_DAMAGED', 0, `the tree names page ${number}, which there is not`);
      return;
    }
    if (this.reached.has(number)) {
      this.lose('PAGE_USED_TWICE', number, `page ${number} is in the tree twice`);
      return;
    }
    this.reached.set(number);
    const page = await this.read(pointer, level);
    if (page === null) return;
    this.checkKeys(page, bounds);
    if (level === 0) this.entries += page.count;
    else await this.children(page, bounds);
  }

  private async children(page: Page, { low, high }: Bounds): Promise<void> {
    for (let index = 0; index < page.count; index++) {
      const own = {
        low: index === 0 ? low : page.keyAt(index),
        high: index + 1 < page.count ? page.keyAt(index + 1) : high,
      };
      await this.page(page.childAt(index), page.level - 1, own);
    }
  }

  /** null: it is good in neither half. */
  private async read(pointer: Pointer, level: number): Promise<Page | null> {
    const { halves, layout, pages } = this.tree;
    const copies = await pages.copies(pointer, level);
    const place = pagePlace(layout, pointer.page);
    const mends = mendsOf(halves, place, copies);
    const good = copies.flatMap(({ checked }) => ('good' in checked ? [checked.good] : []))[0];
    if (good === undefined) {
      const why = copies.map((copy) => halves.finding(copy, place).message).join('; ');
      this.lose('PAGE_DAMAGED', pointer.page, why);
      return null;
    }
    this.mends.push(...mends);
    this.findings.push(...mends.map(({ finding }) => finding));
    return good;
  }

  private checkKeys(page: Page, { low, high }: Bounds): void {
    const [first, last] = [page.keyAt(0), page.keyAt(page.count - 1)];
    if (first >= low && (high === null || last < high)) return;
    const { page: number } = page.pointer;
    this.find('KEY_OUT_OF_PLACE', number, `page ${number} has keys that its parent does not look for in it`);
  }

  private compareMap(): void {
    const { map } = this.tree;
    if (map === null) return;
    for (let page = 0; page < map.pages; page++) {
      if (map.has(page) === this.reached.has(page)) continue;
      if (map.has(page))
        this.find('PAGE_LEAKED', page, `page ${page} is in use, and the tree does not have it`);
      else this.find('PAGE_MARKED_FREE', page, `page ${page} is in the tree, and the map has it free`);
    }
  }

  private lose(code: MetadataFindingCode, page: number, message: string): void {
    this.isWhole = false;
    this.find(code, page, message);
  }

  private find(code: MetadataFindingCode, page: number, what: string): void {
    const { halves, layout } = this.tree;
    const { name } = halves.range.device;
    const offsetBytes = halves.offsetIn('A', page < layout.pages ? pageOffset(layout, page) : 0);
    const message = `${name}: the metadata's tree at offset ${offsetBytes}: ${what}`;
    this.findings.push({ code, image: name, offsetBytes, lengthBytes: PAGE_BYTES, message });
  }
}
