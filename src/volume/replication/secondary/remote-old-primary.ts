/**
 * The former primary of a volume that was promoted, behind a server of ours: which blocks it had written, and how it becomes a
 * secondary itself (generations/old-primary.ts). Its server offers the image as a place, of which nothing was made yet.
 */
import type { OldPrimary, Promoted, Rejoining } from '../generations/old-primary.js';
import { MOST_RANGES } from './change-pages.js';
import { ANSWERS, misunderstood } from './messages.js';
import { gatherPages, unchanged } from './remote-pages.js';
import { askPlace, CHANGE_MS, CHANGES_MS } from './remote-place.js';

export class RemoteOldPrimary {
  constructor(
    readonly uri: string,
    private readonly ours: Promoted,
  ) {}

  look(): Promise<OldPrimary> {
    return unchanged(this.uri, () => this.#lookAtOnce());
  }

  /** @throws UserError REFUSED where it has written blocks that were not `seen`. */
  async rejoin(secondary: Parameters<Rejoining['make']>[0], seen: string): Promise<void> {
    const request = { request: 'rejoin', ...this.#promoted, ...secondary, seen } as const;
    await askPlace(this.uri, request, ANSWERS.done, CHANGE_MS);
  }

  async #lookAtOnce(): Promise<OldPrimary | 'changed'> {
    const { uri } = this;
    const gathered = await gatherPages(uri, this.ours.sizeBytes, async (from) => {
      const request = { request: 'former', ...this.#promoted, from, most: MOST_RANGES } as const;
      return (await askPlace(uri, request, ANSWERS.former, CHANGES_MS)).changes;
    });
    if (gathered === 'changed') return gathered;
    const { written, putBack, sinceMs } = gathered;
    if (written.map === null || putBack.map === null) throw misunderstood(uri, 'it says no blocks');
    return {
      image: uri,
      changed: written.map,
      trouble: written.trouble,
      sinceMs: sinceMs === 0 ? null : sinceMs,
      uncopied: [...putBack.map.runs()],
    };
  }

  /** One that knows of no former primary asks for one that nobody has, and is told so. */
  get #promoted() {
    const { volumeUuid, sizeBytes, former } = this.ours;
    return { volumeUuid, sizeBytes, formerUuid: former?.uuid ?? '0'.repeat(32) };
  }
}
