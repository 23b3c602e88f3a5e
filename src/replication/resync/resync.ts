/** A resync of one secondary: the sweep, its pace, and how far it has come. */
import type { BlockDevice, Buffers } from '../../device/contract.js';
import type { BlockRange } from '../blocks.js';
import type { ReplicaSettings } from '../settings.js';
import type { SecondaryTracking } from '../tracking/secondary-tracking.js';
import type { Tracker } from '../tracking/tracker.js';
import { Estimate } from './estimate.js';
import { Pace } from './pace.js';
import { Sweep, type SweepCounts, type SweptDevice } from './sweep.js';
import { Waits } from './waits.js';

/** A resync writes much, and nobody waits for one answer of it: it has so many times as long as one that is in sync. */
export const PATIENCE = 6;

export interface ResyncParts {
  readonly tracker: Tracker;
  readonly tracking: SecondaryTracking;
  readonly primary: BlockDevice;
  readonly secondary: BlockDevice;
  readonly flushPrimary: () => Promise<void>;
  /** The secondary takes no longer epochs. */
  readonly epochBytes: number;
}

export interface ResyncProgress extends SweepCounts {
  readonly leftBlocks: number;
  /** As it went in the last seconds; null: that cannot be told, as where writing outpaces copying. */
  readonly secondsLeft: number | null;
}

export class Resync {
  readonly #sweep: Sweep;
  readonly #pace: Pace;
  readonly #estimate: Estimate;
  readonly #waits: Waits;

  constructor(
    private readonly parts: ResyncParts,
    private readonly settings: ReplicaSettings,
  ) {
    const { pace, sweep, clock } = settings;
    this.#waits = new Waits(clock);
    this.#pace = new Pace(parts.tracker, pace, clock);
    this.#estimate = new Estimate(clock);
    const settleBytes = Math.min(sweep.settleBytes, parts.epochBytes / 2);
    this.#sweep = new Sweep(
      {
        ...parts,
        secondary: this.#awaited(parts.secondary),
        pace: this.#pace,
        onCopied: () => this.#estimate.note(this.#left),
      },
      { ...sweep, settleBytes },
    );
  }

  /** It does not get there by itself. */
  get isOutpaced(): boolean {
    return this.#pace.isOutpaced;
  }

  get progress(): ResyncProgress {
    const leftBlocks = this.#left;
    const secondsLeft = this.#estimate.secondsLeft(leftBlocks);
    return { ...this.#sweep.counts, leftBlocks, secondsLeft };
  }

  /** The secondary has not answered for longer than the limit. */
  get isLate(): boolean {
    return this.#waits.longestMs >= PATIENCE * this.settings.acknowledgeMs;
  }

  /** What else is asked of the secondary. */
  asking<T>(call: () => Promise<T>): Promise<T> {
    return this.#waits.during(call);
  }

  /** See Sweep. */
  async run(signal: AbortSignal, whenDone: () => void): Promise<void> {
    try {
      await this.#sweep.run(signal, whenDone);
    } finally {
      this.#pace.ended();
    }
  }

  /** To be called after `run`. */
  settle(): Promise<void> {
    return this.#sweep.settle();
  }

  /** See Sweep. */
  carry(range: BlockRange, offset: number, reading: Promise<void>, into: Buffers): void {
    this.#sweep.carry(range, offset, reading, into);
  }

  #awaited(secondary: BlockDevice): SweptDevice {
    return {
      write: (...args) => this.asking(() => secondary.write(...args)),
      writeZeroes: (...args) => this.asking(() => secondary.writeZeroes(...args)),
      flush: () => this.asking(() => secondary.flush()),
    };
  }

  get #left(): number {
    return this.parts.tracking.todo?.count ?? 0;
  }
}
