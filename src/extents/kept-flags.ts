/**
 * The flags of an epoch as they are kept and hardened, and how what is kept of them is made void (see keeping.ts).
 */
import { UserError } from '../errors.js';
import type { FlagPlace } from '../metadata/flag-places.js';
import type { ExtentFlags } from '../metadata/messages.js';
import type { Epoch } from './epoch.js';
import type { FileState } from './file-state.js';

/** A crash loses all of what is not committed from now on. The content stays what it is. */
export function withdrawKept(state: FileState, epoch: Epoch): Promise<void> {
  epoch.withdrawing ??= withdraw(state, epoch).finally(() => {
    epoch.withdrawing = null;
  });
  return epoch.withdrawing;
}

async function withdraw(state: FileState, epoch: Epoch): Promise<void> {
  await withdrawNumber(state);
  const where = epoch.keptIn!;
  epoch.keptIn = null;
  await flagsGone(state, epoch, where);
}

/** What is kept is whole when its number is at the server (keeping.ts): now it is not. */
export async function withdrawNumber(state: FileState): Promise<void> {
  const { session, client } = state.context;
  const sizes = [{ file: state.file, sizeBytes: state.committedSizeBytes }];
  await session.request({ type: 'Harden_Extent_Flags', client, extents: [], sizes, starts: true });
  state.hasKeptSize = false;
}

/**
 * The server has no number of them any more, so they count no more: this only makes room. What fails of it is done by the
 * next opening.
 */
export async function flagsGone(
  { context, file, name }: FileState,
  epoch: Epoch,
  where: FlagPlace,
): Promise<void> {
  try {
    await context.flags.at(where).gone(file, epoch.flagsExtents.splice(0));
  } catch (cause) {
    if (!(cause instanceof UserError)) throw cause;
    if (!context.session.hasEnded) context.settings.warn(`${name}: flags that were kept: ${cause.message}`);
  }
}

/** The flags of all places with something, for Harden_Extent_Flags. */
export function flagsOf(state: FileState, epoch: Epoch): ExtentFlags[] {
  return [...epoch.places.values()]
    .filter((place) => !place.isEmpty)
    .map(({ index, journal, marked, cleared }) => ({
      file: state.file,
      index,
      journal,
      marked: marked.slice(),
      cleared: cleared.slice(),
    }));
}
