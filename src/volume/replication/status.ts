/** What `status` and `replica status` say of a replica: while the volume is open, and from what is on disk. */
import { BLOCK_BYTES } from '../../replication/blocks.js';
import type { Replica } from '../../replication/replica.js';
import type { ResyncProgress } from '../../replication/resync/resync.js';
import { type BlocksOnDisk, readTracked } from './on-disk.js';
import type { PrimaryPlaces } from './places.js';
import type { ReplicaEntry } from './replicas-file.js';

/** As scripts know them. */
export type ReplicaStateName = 'initial' | 'in-sync' | 'unsynchronized' | 'resyncing' | 'paused' | 'diverged';

export interface ReplicaStatus {
  readonly name: string;
  readonly to: string;
  readonly mode: 'async' | 'sync';
  readonly onLoss: 'continue' | 'stop';
  readonly state: ReplicaStateName;
  /** Why it is not in sync; null: it is. */
  readonly reason: string | null;
  /** null: that cannot be told now. */
  readonly dirtyBlocks: number | null;
  readonly dirtyBytes: number | null;
  /** null where the volume is not open. */
  readonly queuedBytes: number | null;
  readonly copiedBlocks: number | null;
  /** Of the resync that runs; null: none does. */
  readonly resync: ResyncProgress | null;
}

export function statusOf(entry: ReplicaEntry, replica: Replica): ReplicaStatus {
  const { name, to, mode, onLoss, isWhole } = entry;
  const { state, reason, dirtyBlocks, queuedBytes, resync, isOutpaced } = replica;
  // In sync it has blocks that are on their way: nothing is wrong with those.
  const isFirst = !isWhole && state !== 'in-sync' && state !== 'paused' && state !== 'diverged';
  return {
    ...{ name, to, mode, onLoss },
    state: isFirst ? 'initial' : state,
    reason: isOutpaced ? `${reason}; writing outpaces copying` : reason,
    dirtyBlocks,
    dirtyBytes: dirtyBlocks * BLOCK_BYTES,
    queuedBytes,
    copiedBlocks: resync?.copiedBlocks ?? null,
    resync: state === 'resyncing' ? resync : null,
  };
}

/** From the disk alone; nothing is locked or written. While the volume is open elsewhere this is a moment old. */
export async function replicasOnDisk(places: PrimaryPlaces): Promise<ReplicaStatus[]> {
  const { content, replicas } = await readTracked(places);
  return content.replicas.map((entry) => statusOnDisk(entry, replicas.get(entry.name)!));
}

export function statusOnDisk(entry: ReplicaEntry, { map, trouble }: BlocksOnDisk): ReplicaStatus {
  const { name, to, mode, onLoss } = entry;
  const dirtyBlocks = map?.count ?? null;
  const state = stateOnDisk(entry, dirtyBlocks);
  const reason = trouble ?? entry.diverged ?? reasonOnDisk(state);
  return {
    ...{ name, to, mode, onLoss, state, reason, dirtyBlocks },
    dirtyBytes: dirtyBlocks === null ? null : dirtyBlocks * BLOCK_BYTES,
    queuedBytes: null,
    copiedBlocks: null,
    resync: null,
  };
}

function stateOnDisk(
  { diverged, isPaused, isWhole }: ReplicaEntry,
  dirtyBlocks: number | null,
): ReplicaStateName {
  if (diverged !== null) return 'diverged';
  if (isPaused) return 'paused';
  if (!isWhole) return 'initial';
  return dirtyBlocks === 0 ? 'in-sync' : 'unsynchronized';
}

function reasonOnDisk(state: ReplicaStateName): string | null {
  if (state === 'in-sync') return null;
  return state === 'paused' ? 'paused' : 'the volume is not open: it is copied when it is opened';
}
