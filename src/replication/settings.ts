/** What a replica is told to do, and its limits. */
import { type Clock, realClock } from './clock.js';
import type { PaceSettings } from './resync/pace.js';
import type { SweepSettings } from './resync/sweep.js';
import type { QueueLimits } from './sending/queue.js';

export { type Clock, realClock };

/** `sync`: a write is answered when the secondary has it on its disk. */
export type ReplicaMode = 'async' | 'sync';
/** Of `sync`: what becomes of writes when the secondary is lost. */
export type OnLoss = 'continue' | 'stop';

export interface ReplicaSettings {
  readonly mode: ReplicaMode;
  readonly onLoss: OnLoss;
  readonly queue: QueueLimits;
  /** Requests in flight to the secondary. */
  readonly inFlight: number;
  /** An epoch ends after so long without a write. */
  readonly idleMs: number;
  /** An acknowledgement that takes longer is none. */
  readonly acknowledgeMs: number;
  /** A secondary that is away is tried again, first after this, then after twice as long each time. */
  readonly retryMs: number;
  readonly longestRetryMs: number;
  readonly sweep: SweepSettings;
  readonly pace: PaceSettings;
  readonly clock: Clock;
}

const MIB = 1024 * 1024;

export const DEFAULT_SETTINGS: ReplicaSettings = {
  mode: 'async',
  onLoss: 'continue',
  queue: { bytes: 64 * MIB, entries: 16384 },
  inFlight: 32,
  idleMs: 50,
  acknowledgeMs: 10_000,
  retryMs: 500,
  longestRetryMs: 30_000,
  sweep: { pieceBytes: MIB / 4, inFlight: 4, settleBytes: 64 * MIB },
  pace: { whenOutpaced: 'hold', bytesPerSecond: null, holdMs: 500, throttleMs: 2, patientSweeps: 4 },
  clock: realClock,
};
