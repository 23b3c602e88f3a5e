/** Whether flags that were read are what may come back: all journal extents that they name are the client's, as they say. */
import type { KeptJournal } from '../../metadata/messages.js';
import type { FoundFlags, KeptFile } from './contract.js';

/** `journal`: what the server says is associated with the file. */
export function judged(kept: KeptFile, journal: readonly KeptJournal[]): FoundFlags {
  const byExtent = new Map(journal.map((one) => [one.extent, one]));
  const seen = new Set<number>();
  for (const { index, journal: extent } of kept.extents) {
    const associated = byExtent.get(extent);
    if (associated === undefined || seen.has(extent))
      return { lost: `journal extent ${extent} is not the client's any more` };
    if (associated.index !== index)
      return { lost: `journal extent ${extent} is of extent ${associated.index}, not ${index}` };
    seen.add(extent);
  }
  return { kept };
}
