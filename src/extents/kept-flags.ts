/**
 * The flags of an epoch as the metadata server has them, and how what it keeps of them is made void (see keeping.ts).
 */
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
  const { session, client } = state.context;
  const sizes = [{ file: state.file, sizeBytes: state.committedSizeBytes }];
  await session.request({ type: 'Harden_Extent_Flags', client, extents: [], sizes, starts: true });
  state.hasKeptSize = false;
  epoch.isKept = false;
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
