/**
 * Recovery of the files of a volume: what was hardened is completed, and what was never hardened is free again. What a
 * client has kept to come back to stays as it is.
 *
 * A cut amid it changes nothing of that: whoever recovers next goes on.
 */
import { completeAll } from '../metadata/completion.js';
import type { KeptJournal } from '../metadata/messages.js';
import { type ExtentsVolume, holdsExtents, openExtents } from './extents.js';
import { LOCAL_CLIENT } from './extents-store.js';
import type { Volume } from './model.js';

export interface FilesRecovery {
  readonly redoneTransactions: number;
  readonly copiedBlocks: number;
  readonly freedExtents: number;
}

/** null: the volume is raw. Throws CompletionError for a target that fails. */
export async function recoverFiles(
  volume: Volume,
  warn: (message: string) => void,
): Promise<FilesRecovery | null> {
  if (!(await holdsExtents(volume))) return null;
  const extents = await openExtents(volume, { warn });
  try {
    return await complete(extents);
  } finally {
    await extents.close();
  }
}

async function complete({ service, server, pool }: ExtentsVolume): Promise<FilesRecovery> {
  const client = LOCAL_CLIENT;
  const before = await service.request({ type: 'Open_Client', client });
  const { statistics } = await completeAll(service, client, pool);
  const { transactions, copiedBlocks, copiedHomeBlocks } = statistics;
  const abandoned = before.journal.filter(({ flags }) => flags === null);
  await free({ service }, abandoned);
  // What completion has done with is the client's still, until it opens anew.
  await service.request({ type: 'Open_Client', client });
  await server.settled();
  return {
    redoneTransactions: transactions,
    copiedBlocks: copiedBlocks + copiedHomeBlocks,
    freedExtents: abandoned.length,
  };
}

/** Associated, and the server was never told what was written: nobody knows what was to become of it. */
async function free(
  { service }: Pick<ExtentsVolume, 'service'>,
  abandoned: readonly KeptJournal[],
): Promise<void> {
  const client = LOCAL_CLIENT;
  for (const { extent: journal } of abandoned)
    await service.request({ type: 'Disassociate_Journal_Extent', client, journal });
}
