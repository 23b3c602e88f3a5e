/** Waiting until a replica is in sync, and telling how far it has come. */
import { UserError } from '../../errors.js';
import { BLOCK_BYTES } from '../../replication/blocks.js';
import type { Replica } from '../../replication/replica.js';
import type { ReplicaState } from '../../replication/standing.js';

/** How often a resync is asked how far it has come. */
const PROGRESS_MS = 100;

/** `copy-on-read`: what is read of dirty blocks meanwhile is copied too (paragraphs 91 and 92). */
export const SYNC_METHODS = ['sweep', 'copy-on-read'] as const;
export type SyncMethod = (typeof SYNC_METHODS)[number];

export interface SyncReporting {
  readonly signal: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** What to do about one that is not in sync. */
const HINTS: Partial<Record<ReplicaState, string>> = {
  paused: 'holdfast replica resume goes on with it.',
  diverged: 'holdfast replica status --explain says what each side has written, and what can be done.',
};

function hintOf({ state, isHeld }: Replica): string {
  if (isHeld && state === 'unsynchronized') return 'It goes on by itself when that is over.';
  return HINTS[state] ?? 'Bring it back: it is tried again by itself.';
}

/** Throws what keeps it from being in sync. */
export async function inSync(
  replica: Replica,
  { signal, onProgress = () => {} }: SyncReporting,
  method: SyncMethod,
): Promise<void> {
  replica.copiesOnRead = method === 'copy-on-read' && replica.state !== 'in-sync';
  const looks = setInterval(() => tellProgress(replica, onProgress), PROGRESS_MS);
  try {
    await Promise.race([replica.attempted(), aborted(signal)]);
  } finally {
    clearInterval(looks);
    replica.copiesOnRead = false;
  }
  signal.throwIfAborted();
  if (replica.state !== 'in-sync') {
    throw new UserError('IO_ERROR', `replica ${replica.name} is ${replica.state}: ${replica.reason}`, {
      hint: hintOf(replica),
      details: { replica: replica.name, state: replica.state },
    });
  }
}

function tellProgress(
  { state, resync }: Replica,
  tell: (doneBytes: number, totalBytes: number) => void,
): void {
  if (state !== 'resyncing' || resync === null) return;
  tell(resync.copiedBytes, resync.copiedBytes + resync.leftBlocks * BLOCK_BYTES);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
