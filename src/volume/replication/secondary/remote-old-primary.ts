/**
 * The former primary of a volume that was promoted, behind a server of ours: which blocks it had written, and how it becomes a
 * secondary itself (generations/old-primary.ts). Its server offers the image as a place, of which nothing was made yet.
 */
import type { OldPrimary, Promoted, Rejoining } from '../generations/old-primary.js';
import { GatheredChanges, MOST_RANGES } from './change-pages.js';
import { ANSWERS, misunderstood } from './messages.js';
import { changedMeanwhile } from './place.js';
import { askPlace, CHANGE_MS, CHANGES_MS, LOOKS } from './remote-place.js';

export class RemoteOldPrimary {
  constructor(
    readonly uri: string,
    private readonly ours: Promoted,
  ) {}

  async look(): Promise<OldPrimary> {
    for (let look = 1; look <= LOOKS; look++) {
      const old = await this.#lookAtOnce();
      if (old !== null) return old;
    }
    throw changedMeanwhile(this.uri);
  }

  /** @throws UserError REFUSED where it has written blocks that were not `seen`. */
  async rejoin(secondary: Parameters<Rejoining['make']>[0], seen: string): Promise<void> {
    const request = { request: 'rejoin', ...this.#promoted, ...secondary, seen } as const;
    await askPlace(this.uri, request, ANSWERS.done, CHANGE_MS);
  }

  /** null: it was written meanwhile. */
  async #lookAtOnce(): Promise<OldPrimary | null> {
    const { uri } = this;
    const gathered = new GatheredChanges(this.ours.sizeBytes);
    for (let from: number | null = 0; from !== null; from = gathered.next) {
      const request = { request: 'former', ...this.#promoted, from, most: MOST_RANGES } as const;
      const { changes } = await askPlace(uri, request, ANSWERS.former, CHANGES_MS);
      const wrong = gathered.add(changes);
      if (wrong === 'senseless') throw misunderstood(uri, 'its lists of blocks make no sense');
      if (wrong === 'changed') return null;
    }
    const { written, putBack, sinceMs } = gathered.changes;
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
