/**
 * Recovery of the files of a volume: what was hardened is completed, and what was never hardened is free again. What a
 * client has kept to come back to stays as it is. It is what the client does whenever it opens for writing, and no more.
 *
 * A cut amid it changes nothing of that: whoever recovers next goes on.
 */
import { type OpenedFiles, openFiles } from './extents-store.js';
import type { Volume } from './model.js';

export interface FilesRecovery {
  readonly redoneTransactions: number;
  readonly copiedBlocks: number;
  /** Taken and never written down as anything's. */
  readonly freedExtents: number;
  /** Files with changes that are kept, and not committed. */
  readonly keptFiles: number;
  /** Files with changes that were kept and are lost, each told of. */
  readonly lostFiles: number;
}

/** null: the volume is raw. Throws what keeps a transaction from being completed. */
export async function recoverFiles(
  volume: Volume,
  warn: (message: string) => void,
): Promise<FilesRecovery | null> {
  if (volume.files === null) return null;
  const files = await openFiles(volume, warn);
  try {
    return await recover(files);
  } finally {
    await files.close();
  }
}

async function recover({ store, extents }: OpenedFiles): Promise<FilesRecovery> {
  await store.close();
  await extents.server.settled();
  const { redoneTransactions, freedJournalExtents: freedExtents, statistics } = store.recovery;
  const { keptFiles, lostFiles } = store.recovery;
  const copiedBlocks = statistics.copiedBlocks + statistics.copiedHomeBlocks;
  return { redoneTransactions, copiedBlocks, freedExtents, keptFiles, lostFiles };
}
