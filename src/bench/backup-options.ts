/** What all backups that are measured have in common: plain images, and nobody who looks on. */
import type { CreateBackupOptions } from '../volume/backup/create.js';

type Chosen = 'name' | 'to' | 'container' | 'onOverflow';

export function backupOptions(
  options: Pick<CreateBackupOptions, Chosen> & Partial<CreateBackupOptions>,
): CreateBackupOptions {
  return {
    isSet: false,
    since: null,
    snapshot: null,
    force: false,
    containerBytes: null,
    bytesPerSecond: null,
    allBlocks: false,
    skipUnreadable: false,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    warn: () => undefined,
    ...options,
  };
}
