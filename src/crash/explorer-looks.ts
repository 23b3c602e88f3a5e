/**
 * The states of one cut that are being looked at: several at once, if looking takes its time, and each with its outcome in the order in
 * which they came up. So what is found, and what is counted, does not depend on how many there are at once.
 */
import type { Breach } from './explorer-failure.js';
import type { KeptState } from './states-kept.js';

/** How far a run was when a state came up. */
export interface Counts {
  readonly states: number;
  /** Different ones. */
  readonly images: number;
  /** Checks of states that nobody had to wait for: those of the others are counted when they have ended. */
  readonly checksAtOnce: number;
  /** Of the cut: subsets that were seen before. */
  readonly subsets: number;
}

export interface Look {
  /** Of the state, among those that were seen. */
  readonly number: number;
  readonly missing: number | null;
  readonly kept: KeptState;
  readonly counts: Counts;
  /** When those that came up before have ended. null: all that is owed is there. */
  readonly ends: Promise<{ readonly breach: Breach | null; readonly settle: () => void }>;
}

/** A state that breaks an invariant, the first of this cut that breaks it. */
export interface Found extends Look {
  readonly breach: Breach;
}

export interface LooksOptions {
  readonly atOnce: number;
  /** Of a breach, each: whether it is of an invariant that nothing was found of before. */
  isNew(breach: Breach): boolean;
  passed(look: Look): void;
  /** So many new ones are enough. */
  readonly most: number;
}

export class Looks {
  readonly found: Found[] = [];
  private readonly underWay: Look[] = [];
  private stoppedAt: Counts | null = null;

  constructor(private readonly options: LooksOptions) {}

  /** Nothing more is to be looked at. */
  get isEnough(): boolean {
    return this.stoppedAt !== null;
  }

  /** Returns when another one may be begun. */
  async add(look: Look): Promise<void> {
    // Its failure is thrown in its turn.
    look.ends.catch(() => undefined);
    this.underWay.push(look);
    if (this.underWay.length >= this.options.atOnce) await this.endFirst();
  }

  /** All have ended. Where the run is, if what was begun after a state that is enough is to count for nothing; else null. */
  async end(): Promise<Counts | null> {
    while (this.underWay.length > 0) await this.endFirst();
    return this.stoppedAt;
  }

  private async endFirst(): Promise<void> {
    const look = this.underWay.shift()!;
    const { breach, settle } = await look.ends.catch(async (error: unknown) => {
      // Nobody is left at work behind a run that has ended.
      await Promise.allSettled(this.underWay.map(({ ends }) => ends));
      throw error;
    });
    if (this.stoppedAt !== null) return;
    settle();
    if (breach === null) return this.options.passed(look);
    const isNew = this.options.isNew(breach);
    if (!isNew || this.found.some((other) => other.breach.invariant === breach.invariant)) return;
    this.found.push({ ...look, breach });
    if (this.found.length >= this.options.most) this.stoppedAt = look.counts;
  }
}
