/** What a replica consists of, and what it reaches. */
import type { BlockDevice } from '../device/contract.js';
import type { PrimaryFlushes } from './sending/primary-flushes.js';
import type { ReplicaSettings } from './settings.js';
import type { ReplicaState } from './standing.js';
import type { SecondaryTracking } from './tracking/secondary-tracking.js';
import type { Tracker } from './tracking/tracker.js';

/** A secondary, reached. */
export interface ConnectedSecondary {
  readonly device: BlockDevice;
  /** It takes no longer epochs. */
  readonly epochBytes: number;
  /** Durable when it returns: what comes is no moment of the primary until `endResync`. */
  beginResync(): Promise<void>;
  /** Durable when it returns: it is a moment of the primary. */
  endResync(): Promise<void>;
  /**
   * Also while calls are in flight: they end, or fail, and it waits for them, though not for answers that may never come.
   * Called once.
   */
  close(): Promise<void>;
}

export interface ReplicaParts {
  readonly name: string;
  readonly tracker: Tracker;
  readonly tracking: SecondaryTracking;
  readonly primary: BlockDevice;
  readonly flushes: PrimaryFlushes;
  /** It has never been like the primary, or that is not known: a resync comes first, though no block be dirty. */
  readonly isWhole: boolean;
  /**
   * Throws what keeps it from being reached; one whose details say that it has diverged is not tried again.
   */
  readonly connect: (signal: AbortSignal) => Promise<ConnectedSecondary>;
  readonly isPaused: boolean;
  /** See Replication.hold; null: it is not held. */
  readonly heldFor: string | null;
  /** How it stands now, also where that is no news; not told of one that is only being reached. */
  readonly onStanding?: (state: ReplicaState) => void;
  readonly settings: ReplicaSettings;
  readonly warn: (message: string) => void;
}
