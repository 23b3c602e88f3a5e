/**
 * Associate_Data_Journal and Disassociate_Journal_Extent before the commit (paragraphs 27, 35 and 38). Associated at
 * once, or with the flags: both orders are the document's, and what a crash leaves of either is freed.
 */
import { allEnded } from '../device/all-ended.js';
import type { ClientContext } from './context.js';
import type { Epoch, Place } from './epoch.js';
import type { FileState } from './file-state.js';

/** But where an earlier epoch's is associated with the same extent still: then the commit does it. */
export async function associate(state: FileState, epoch: Epoch, places: readonly Place[]): Promise<void> {
  const { session, client } = state.context;
  const isTaken = (index: number) =>
    state.sealed.some((one) => one !== epoch && one.transaction === null && one.places.has(index));
  const due = places.filter(
    (place) => place.journal !== null && !place.isAssociated && !isTaken(place.index),
  );
  await allEnded(
    due.map(async (place) => {
      const { index } = place;
      // Said before it is so: what has failed in between is disassociated, which does no harm.
      place.isAssociated = true;
      const request = { client, file: state.file, index, journal: place.journal! };
      await session.request({ type: 'Associate_Data_Journal', ...request });
    }),
  );
}

export interface Retired {
  readonly extent: number;
  readonly isAssociated: boolean;
}

/** Their places are gone: when nobody reads them any more they are free for others, or go back to the pool. */
export async function retire(
  { session, reads, reserve }: ClientContext,
  retired: readonly Retired[],
  { toPool = false } = {},
): Promise<void> {
  await reads.ended();
  const associated = retired.filter(({ isAssociated }) => isAssociated);
  await session.disassociate(associated.map(({ extent }) => extent));
  const extents = retired.map(({ extent }) => extent);
  if (toPool) await reserve.free(extents);
  else reserve.returned(extents);
}
