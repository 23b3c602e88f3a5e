/**
 * What a promoted secondary behind a server has of its own, page by page: lists of ranges may be longer than one answer may be. A
 * page has the ranges of some blocks, from the one that is asked for to `next`.
 *
 * All pages have one id: where another one comes amid them it was written or promoted in between, and all is asked for anew.
 */
import { type BlockRange, blocksOf } from '../../../replication/blocks.js';
import { BlockMap } from '../../../replication/map/block-map.js';
import { idOfOld, neverCopied, type OldPrimary } from '../generations/old-primary.js';
import type { BlocksOnDisk } from '../on-disk.js';
import type { ChangesPage, RangesPage } from './messages.js';
import type { PlaceChanges } from './place.js';

/** Of a list in an answer: with two lists, and numbers as long as they may be, it is shorter than the client lets a reply be. */
export const MOST_RANGES = 512;

/** Names and reasons are for people: of very many or long ones the first are enough. */
const MOST_NAMES = 16;
const MOST_NAME_LENGTH = 100;
const MOST_WHY_LENGTH = 500;

/** The server's side: the page from block `from` on, with `most` ranges of each kind at most. */
export function pageOf(changes: PlaceChanges, from: number, most: number): ChangesPage {
  const { sinceMs, id, written, putBack } = changes;
  const maps = [written.map, putBack.map].filter((map) => map !== null);
  const blocks = Math.max(0, ...maps.map((map) => map.blocks));
  const until = Math.min(blocks, ...maps.map((map) => endOf(map, from, Math.min(most, MOST_RANGES))));
  const part = { from, count: Math.max(0, until - from) };
  return {
    ...{ sinceMs, id, next: until < blocks ? until : null },
    replicas: changes.replicas.slice(0, MOST_NAMES).map((name) => name.slice(0, MOST_NAME_LENGTH)),
    written: rangesOf(written, part),
    putBack: rangesOf(putBack, part),
  };
}

/** As `pageOf`, of a former primary: what it wrote, and what was never copied from it in place of what was put back. */
export function pageOfOld(old: OldPrimary, from: number, most: number): ChangesPage {
  const { changed, trouble, sinceMs } = old;
  const changes = {
    ...{ sinceMs: sinceMs ?? 0, replicas: [], id: idOfOld(old) },
    written: { map: changed, trouble },
    putBack: { map: neverCopied(old), trouble: null },
  };
  return pageOf(changes, from, most);
}

/** Behind the last of so many ranges. */
function endOf(map: BlockMap, from: number, most: number): number {
  let left = most;
  for (const range of map.runs(from)) {
    left -= 1;
    if (left === 0) return range.from + range.count;
  }
  return map.blocks;
}

function rangesOf({ map, trouble }: BlocksOnDisk, part: BlockRange): RangesPage {
  const ranges =
    map === null ? null : [...map.runsWithin(part)].map(({ from, count }) => [from, count] as const);
  return { ranges, trouble: trouble === null ? null : trouble.slice(0, MOST_WHY_LENGTH) };
}

/** The client's side: pages of a secondary of `sizeBytes`, put together. */
export class GatheredChanges {
  readonly #blocks: number;
  readonly #written: BlockMap;
  readonly #putBack: BlockMap;
  #first: ChangesPage | null = null;
  /** From which block on the next page is asked for; null: all are there. */
  #next: number | null = 0;

  constructor(sizeBytes: number) {
    this.#blocks = blocksOf(sizeBytes);
    this.#written = new BlockMap(this.#blocks);
    this.#putBack = new BlockMap(this.#blocks);
  }

  get next(): number | null {
    return this.#next;
  }

  /** Null: it fits the ones before. Else why it does not. */
  add(page: ChangesPage): 'changed' | 'senseless' | null {
    this.#first ??= page;
    if (page.id !== this.#first.id) return 'changed';
    const from = this.#next ?? this.#blocks;
    const until = page.next ?? this.#blocks;
    // Each goes further, so that there is an end of them.
    if (until > this.#blocks || (page.next !== null && until <= from)) return 'senseless';
    for (const [map, { ranges }] of [
      [this.#written, page.written],
      [this.#putBack, page.putBack],
    ] as const)
      for (const [start, count] of ranges ?? []) {
        if (start < from || start + count > until) return 'senseless';
        map.set({ from: start, count });
      }
    this.#next = page.next;
    return null;
  }

  /** Of all pages. */
  get changes(): PlaceChanges {
    const { sinceMs, id, replicas, written, putBack } = this.#first!;
    return {
      ...{ sinceMs, id, replicas },
      written: known(this.#written, written),
      putBack: known(this.#putBack, putBack),
    };
  }
}

function known(map: BlockMap, { ranges, trouble }: RangesPage): BlocksOnDisk {
  return { map: ranges === null ? null : map, trouble };
}
