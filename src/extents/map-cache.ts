/**
 * The pages of a file's map that were looked up last. What is used of a page is looked at in the turn of the loop in
 * which it is used (`peek`), so that nobody goes by what is out of date; a page whose answer was on its way while
 * something of it changed is fetched anew.
 *
 * What this client itself has hardened lies over the map until it is done (file-state.ts): whether a page has it
 * as pending or not makes no difference. When it is done, the page changes with the answer (paragraph 34).
 */
import { isEmpty, noBits } from '../metadata/bits.js';
import type { CompletedExtent } from '../metadata/completion.js';
import { usedAfter } from '../metadata/decision.js';
import {
  type MappedExtent,
  type MetadataService,
  MOST_FILE_EXTENTS,
  type TransactionExtent,
} from '../metadata/messages.js';

export const PAGE_PLACES = 256;
const MOST_PAGES = 64;

interface Fetch {
  readonly ended: Promise<void>;
  isOutdated: boolean;
}

export class MapCache {
  /** The one that was used last is the last. */
  readonly #pages = new Map<number, MappedExtent[]>();
  readonly #fetches = new Map<number, Fetch>();

  constructor(
    private readonly service: MetadataService,
    private readonly client: string,
    private readonly file: number,
  ) {}

  /** What is at the place, or null where it is to be loaded first. */
  peek(index: number): MappedExtent | null {
    const number = Math.floor(index / PAGE_PLACES);
    const page = this.#pages.get(number);
    if (page === undefined) return null;
    return page[index - number * PAGE_PLACES] ?? null;
  }

  /** The page that has this place. What is loaded may be dropped again before one looks. */
  async load(index: number): Promise<void> {
    const number = Math.floor(index / PAGE_PLACES);
    const found = this.#fetches.get(number);
    if (found !== undefined) return found.ended;
    const fetch: Fetch = { isOutdated: false, ended: this.#fetch(number) };
    this.#fetches.set(number, fetch);
    try {
      await fetch.ended;
    } finally {
      this.#fetches.delete(number);
    }
  }

  /** Another client, or a snapshot, has changed these; null: all. */
  drop(indexes: readonly number[] | null): void {
    const numbers =
      indexes === null
        ? new Set([...this.#pages.keys(), ...this.#fetches.keys()])
        : new Set(indexes.map((index) => Math.floor(index / PAGE_PLACES)));
    for (const number of numbers) {
      this.#pages.delete(number);
      const fetch = this.#fetches.get(number);
      if (fetch !== undefined) fetch.isOutdated = true;
    }
  }

  done({ transaction, entry, decision }: CompletedExtent): void {
    const number = Math.floor(entry.index / PAGE_PLACES);
    const fetch = this.#fetches.get(number);
    if (fetch !== undefined) fetch.isOutdated = true;
    const page = this.#pages.get(number);
    if (page === undefined) return;
    const at = entry.index - number * PAGE_PLACES;
    const pending = page[at]!.pending.filter((one) => one.transaction !== transaction);
    page[at] = { index: entry.index, ...placeAfter(entry, decision), pending };
  }

  async #fetch(number: number): Promise<void> {
    const from = number * PAGE_PLACES;
    const count = Math.min(PAGE_PLACES, MOST_FILE_EXTENTS - from);
    for (;;) {
      const { extents } = await this.service.request({
        type: 'Map_Extents',
        client: this.client,
        file: this.file,
        from,
        count,
      });
      // It is set in the turn in which `load` called, and the answer took longer.
      const fetch = this.#fetches.get(number);
      if (fetch?.isOutdated === true) {
        fetch.isOutdated = false;
        continue;
      }
      this.#pages.delete(number);
      this.#pages.set(number, [...extents]);
      const [oldest] = this.#pages.keys();
      if (this.#pages.size > MOST_PAGES) this.#pages.delete(oldest!);
      return;
    }
  }
}

/** What the metadata server makes of the place (metadata/server/finish.ts). */
function placeAfter(
  entry: TransactionExtent,
  decision: 'swap' | 'commit',
): Pick<MappedExtent, 'extent' | 'used' | 'isShared'> {
  const used = usedAfter({ ...entry, hasData: entry.data !== null });
  if (decision === 'swap') return { extent: entry.journal, used, isShared: false };
  if (isEmpty(used) || entry.data === null)
    return { extent: null, used: noBits(entry.used.length * 8), isShared: false };
  return { extent: entry.data, used, isShared: entry.isShared };
}
