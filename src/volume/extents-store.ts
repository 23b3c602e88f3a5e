/** The client of the files of a volume, as every command of this machine opens it. */
import { ExtentStore, type StoreOptions } from '../extents/index.js';
import type { ExtentsVolume } from './extents.js';

/**
 * One name for all commands: only one process at a time has a volume open for writing, and the next one goes on with what
 * the one before has kept.
 */
export const LOCAL_CLIENT = 'holdfast';

/** `options`: beside what the volume itself says. The store is closed before the volume's extents are. */
export function openStore(
  { service, pool, isJournalShared, isReadOnly }: ExtentsVolume,
  options: Omit<Partial<StoreOptions>, 'service' | 'pool' | 'journalShares'> = {},
): Promise<ExtentStore> {
  return ExtentStore.open({
    client: LOCAL_CLIENT,
    readOnly: isReadOnly,
    ...options,
    service,
    pool,
    journalShares: isJournalShared,
  });
}
