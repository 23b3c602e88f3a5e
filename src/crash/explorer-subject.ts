/** What is explored, how it is recovered and what must hold, and how far a run goes: what the explorer (explorer.ts) is given. */
import type { RoleOf } from './coverage.js';
import type { Breach } from './explorer-failure.js';
import type { Report } from './explorer-report.js';
import type { ProfileName } from './profiles.js';
import type { StateContent } from './state-content.js';
import type { StateDevice } from './state-device.js';
import type { Mark, Trace } from './trace.js';

/** One state that a cut may leave. */
export interface ExploredState {
  /** The device that was taken away after the cut. */
  readonly missing: number | null;
  /** The power was cut amid a recovery. */
  readonly isSecondCut: boolean;
  /** New ones at each call, to be written at will; null is the missing one. Who asks does so at once, and later again if need be. */
  devices(): (StateDevice | null)[];
}

export interface Evaluation<Reading> {
  /** All that a check may want to know of the state. Kept for each different one: small is good. */
  readonly reading: Reading;
  /** What recovery asked of the devices, all of them in the subject's order; null: not to be cut. */
  readonly recovery: Trace | null;
}

export interface Subject<Reading, Obligations> {
  readonly trace: Trace;
  /** What each device of the trace held before it. */
  readonly initial: readonly StateContent[];
  /** Look at each state without each single device too. */
  readonly losesMembers: boolean;
  /** Which those are; all of them unless said otherwise. */
  readonly members?: readonly number[];
  /** Whether a mark says that something was acknowledged: cuts behind it come first. */
  isPromise(mark: Mark): boolean;
  /** What is owed to whoever finds what a cut at this event left. */
  obligations(cut: number): Obligations;
  evaluate(state: ExploredState): Promise<Evaluation<Reading>>;
  /** null: all that is owed is there. */
  check(
    reading: Reading,
    obligations: Obligations,
    state?: ExploredState,
  ): Breach | null | Promise<Breach | null>;
  /** What was read is not enough for a check, which is always given the state. */
  readonly checksDevices?: boolean;
}

export interface ExploreOptions {
  readonly seed: number;
  readonly profile?: ProfileName;
  /** Devices, by their numbers, whose power stays on: of these the process alone is gone. */
  readonly spared?: readonly number[];
  readonly maxStates?: number;
  /** Different states: these are what takes time. */
  readonly maxImages?: number;
  /** Of these after one cut, so that a short run comes to many cuts. */
  readonly maxImagesPerCut?: number;
  readonly maxSeconds?: number;
  /** Go on until so many different invariants are broken. Default: 1. */
  readonly maxFailures?: number;
  /** States that are looked at at once. Default: 1. */
  readonly atOnce?: number;
  /** Of writes, for the coverage. Default: the name of the device. */
  readonly roleOf?: RoleOf;
  /** Its reason is thrown, before the next state. */
  readonly signal?: AbortSignal;
  /** Called after each cut. */
  readonly onProgress?: (report: Report) => void;
}
