/**
 * The recoveries of the states that a run has come upon, and which of them is cut next. One that writes what another
 * has written is as good as cut already; those come first that write to places to which none before did.
 */
import type { StatePoint } from './explorer-failure.js';
import { type Journey, placesKey, writesKey } from './explorer-journey.js';
import type { StateContent } from './state-content.js';
import type { Trace } from './trace.js';

/** The recovery of one state, to be cut. */
export interface Recovery<Obligations> extends Journey<Obligations> {
  /** What all cuts that led to the state were owed. */
  readonly owed: Set<Obligations>;
  /** Numbers of the states that cuts amid it leave, once it was cut. */
  readonly left: Set<number>;
}

/** What was recovered. */
export interface RecoveredState {
  readonly number: number;
  readonly contents: readonly StateContent[];
  /** Asked for at once, if at all. */
  readonly point: () => StatePoint;
  /** The device that was missing. */
  readonly missing: number | null;
  /** Which may be missing after a cut amid the recovery, if none was. */
  readonly mayMiss: readonly (number | null)[];
}

export class Recoveries<Obligations> {
  private readonly byState = new Map<number, Recovery<Obligations>>();
  private readonly elsewhere: Recovery<Obligations>[] = [];
  private readonly others: Recovery<Obligations>[] = [];
  private readonly known = new Set<string>();

  /** Different ones. */
  get count(): number {
    return this.byState.size;
  }

  /** Those of them that have not been taken. */
  get waitingCount(): number {
    return this.elsewhere.length + this.others.length;
  }

  of(state: number): Recovery<Obligations> | undefined {
    return this.byState.get(state);
  }

  add({ number, contents, point, missing, mayMiss }: RecoveredState, trace: Trace): void {
    if (!this.isNew(`${missing} ${writesKey(trace)}`)) return;
    const owed = new Set<Obligations>();
    const left = new Set<number>();
    const recovery: Recovery<Obligations> = {
      trace,
      initial: contents,
      missing: missing === null ? mayMiss : [missing],
      isPromise: () => false,
      obligations: () => [...owed],
      recovered: { point: point(), trace, left },
      owed,
      left,
    };
    this.byState.set(number, recovery);
    const isElsewhere = this.isNew(`${missing} ${placesKey(trace)}`);
    (isElsewhere ? this.elsewhere : this.others).push(recovery);
  }

  /** To be cut next. */
  take(): Recovery<Obligations> | undefined {
    return this.elsewhere.shift() ?? this.others.shift();
  }

  private isNew(key: string): boolean {
    const isNew = !this.known.has(key);
    this.known.add(key);
    return isNew;
  }
}
