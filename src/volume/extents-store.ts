/** The files of a volume as every command of this machine opens them: the metadata server, and its client over it. */
import { ExtentStore, type StoreOptions } from '../extents/index.js';
import { closeFailed } from './closing.js';
import { type ExtentsVolume, LOCAL_CLIENT, openExtents } from './extents.js';
import type { Volume } from './model.js';
import { closeInOrder } from './stack.js';
import type { OpenFiles } from './volume-files.js';

/** `options`: beside what the volume itself says. The store is closed before the volume's extents are. */
export function openStore(
  { service, pool, layout, localFlags, isJournalShared, isReadOnly }: ExtentsVolume,
  options: Omit<Partial<StoreOptions>, 'service' | 'pool' | 'journalShares'> = {},
): Promise<ExtentStore> {
  return ExtentStore.open({
    client: LOCAL_CLIENT,
    readOnly: isReadOnly,
    flags: { volumeUuid: layout.volumeUuid, where: layout.flags, local: localFlags },
    ...options,
    service,
    pool,
    journalShares: isJournalShared,
  });
}

/** Closed are the store, then what it asks; the volume stays open. */
export interface OpenedFiles extends OpenFiles {
  readonly extents: ExtentsVolume;
}

/** Throws what opening either throws. */
export async function openFiles(volume: Volume, warn: (message: string) => void): Promise<OpenedFiles> {
  const extents = await openExtents(volume, { warn });
  try {
    const store = await openStore(extents, { warn });
    return { store, extents, close: () => closeInOrder([() => store.close(), () => extents.close()]) };
  } catch (error) {
    // Why it could not be opened is what the user must hear.
    await closeFailed(`the files of ${volume.label}`, () => extents.close(), warn);
    throw error;
  }
}
