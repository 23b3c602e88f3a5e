/**
 * What is not committed and is to outlive the process (paragraph 48): its flags are kept in one of three places
 * (paragraphs 29 and 31; flags/contract.ts), and come back when the client opens again.
 *
 * It comes back whole or not at all. The order, and why
 * - What the journal extents hold is flushed, and they are associated at the server: what comes back is there, and nobody
 *   else's.
 * - The flags go where they are kept, durably; there may be many of them.
 * - Last, one message tells the server their number. It is this number that says that they are whole, and which: without
 *   it, or with another one, nothing of them is found.
 *
 * What is to become of them (a commit, more writes, discarding) takes the number away in one message first, or together
 * with the flags: so no mixture is ever found.
 */
import { allEnded } from '../device/all-ended.js';
import type { FlagPlace } from '../metadata/flag-places.js';
import type { Epoch } from './epoch.js';
import type { FileState } from './file-state.js';
import type { KeptExtent } from './flags/contract.js';
import { flagsGone, flagsOf } from './kept-flags.js';
import { writeOutAndFlush } from './write-out.js';

/** With all of the file locked, and no commit under way. */
export async function keep(state: FileState, epoch: Epoch, asked?: FlagPlace): Promise<void> {
  if (epoch.isKept || epoch.isEmpty) return;
  const { context, file, sizeBytes } = state;
  const { session, client, flags } = context;
  const where = asked ?? flags.where;
  // A journal that has a target of its own may take a commit with it that is not complete (paragraph 51): what was written
  // on top of that one is not to come back without it.
  if (!context.settings.journalShares) await context.completions.idle(file);
  state.check();
  await giveJournalToAll(state, epoch);
  await writeOutAndFlush(state, epoch);
  // Of a keeping that failed.
  if (epoch.flagsExtents.length > 0) await flagsGone(state, epoch, 'data');
  // Said before it is so (association.ts): where it fails half way, those before are associated.
  for (const place of epoch.places.values()) place.isAssociated = true;
  const extents = flagsOf(state, epoch) as KeptExtent[];
  // At the metadata server they are with their flags.
  if (where !== 'metadata') await associateAll(state, extents);
  const number = await flags.at(where).put({ file, sizeBytes, extents }, epoch.flagsExtents);
  state.hasKeptSize = true;
  const sizes = [{ file, sizeBytes: number }];
  await session.request({ type: 'Harden_Extent_Flags', client, extents: [], sizes, starts: false });
  epoch.keptIn = where;
}

/** Whether they are already or not: where an earlier keeping failed, nobody knows. */
async function associateAll({ context: { session, client } }: FileState, extents: readonly KeptExtent[]) {
  await allEnded(
    extents.map(({ file, index, journal }) =>
      session.request({ type: 'Associate_Data_Journal', client, file, index, journal }),
    ),
  );
}

/** Flags are kept with a journal extent. */
async function giveJournalToAll(state: FileState, epoch: Epoch): Promise<void> {
  const bare = [...epoch.places.values()].filter((place) => place.journal === null);
  if (bare.length === 0) return;
  const taken = await state.context.reserve.takeMakingRoom({ count: bare.length, file: state.file });
  for (const [at, place] of bare.entries()) place.journal = taken[at]!;
}
