/** What a server tells page by page, put together; all of it is asked for anew where it was written in between. */
import { GatheredChanges } from './change-pages.js';
import { type ChangesPage, misunderstood } from './messages.js';
import { changedMeanwhile, type PlaceChanges } from './place.js';

/** What is written there while it is looked at is looked at again. */
const LOOKS = 3;

/** @throws UserError REFUSED with the reason `stale` where it is written each time. */
export async function unchanged<T>(uri: string, look: () => Promise<T | 'changed'>): Promise<T> {
  for (let left = LOOKS; left > 0; left--) {
    const found = await look();
    if (found !== 'changed') return found;
  }
  throw changedMeanwhile(uri);
}

/** `ask`: for the page from that block on; null: there is none any more. */
export async function gatherPages(
  uri: string,
  sizeBytes: number,
  ask: (from: number) => Promise<ChangesPage | null>,
): Promise<PlaceChanges | 'changed'> {
  const gathered = new GatheredChanges(sizeBytes);
  for (let from: number | null = 0; from !== null; from = gathered.next) {
    const page = await ask(from);
    if (page === null) return 'changed';
    const wrong = gathered.add(page);
    if (wrong === 'senseless') throw misunderstood(uri, 'its lists of blocks make no sense');
    if (wrong === 'changed') return 'changed';
  }
  return gathered.changes;
}
