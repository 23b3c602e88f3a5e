/**
 * What is not committed and is to outlive the process (paragraph 48): its flags are kept at the metadata server, with
 * Harden_Extent_Flags that does not start a commit, and come back with Open_Client.
 *
 * It comes back whole or not at all. The flags go in parts (there may be many), and then the size: it is the size that
 * says that the flags are whole. What is to become of them (a commit, more writes, discarding) takes the size away in one
 * message first, or together with the flags: so no mixture is ever found.
 */
import type { ExtentFlags } from '../metadata/messages.js';
import type { Epoch } from './epoch.js';
import type { FileState } from './file-state.js';
import { flagsOf } from './kept-flags.js';
import { writeOutAndFlush } from './write-out.js';

/** Of one message: an engine takes so much in one commit (metadata/server/turn.ts). */
const PART_BYTES = 32 * 1024;
const EXTENT_BYTES = 500;

/** With all of the file locked, and no commit under way. */
export async function keep(state: FileState, epoch: Epoch): Promise<void> {
  if (epoch.isKept || epoch.isEmpty) return;
  const { context, file } = state;
  const { session, client } = context;
  // A journal that has a target of its own may take a commit with it that is not complete (paragraph 51): what was written
  // on top of that one is not to come back without it.
  if (!context.settings.journalShares) await context.completions.idle(file);
  state.check();
  await giveJournalToAll(state, epoch);
  await writeOutAndFlush(state, epoch);
  // Said before it is so (association.ts): where a part fails, those before it are associated.
  for (const place of epoch.places.values()) place.isAssociated = true;
  for (const extents of partsOf(flagsOf(state, epoch)))
    await session.request({ type: 'Harden_Extent_Flags', client, extents, sizes: [], starts: false });
  state.hasKeptSize = true;
  const sizes = [{ file, sizeBytes: state.sizeBytes }];
  await session.request({ type: 'Harden_Extent_Flags', client, extents: [], sizes, starts: false });
  epoch.isKept = true;
}

/** Flags are kept with a journal extent. */
async function giveJournalToAll(state: FileState, epoch: Epoch): Promise<void> {
  const bare = [...epoch.places.values()].filter((place) => place.journal === null);
  if (bare.length === 0) return;
  const taken = await state.context.reserve.take({ count: bare.length, file: state.file });
  for (const [at, place] of bare.entries()) place.journal = taken[at]!;
}

function* partsOf(flags: readonly ExtentFlags[]): Generator<ExtentFlags[]> {
  let part: ExtentFlags[] = [];
  let bytes = 0;
  for (const one of flags) {
    part.push(one);
    bytes += EXTENT_BYTES + one.marked.length + one.cleared.length;
    if (bytes < PART_BYTES) continue;
    yield part;
    part = [];
    bytes = 0;
  }
  if (part.length > 0) yield part;
}
