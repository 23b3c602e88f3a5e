/**
 * A failing state while it is made smaller: the last one that was seen to fail as it did, of a cut of the trace or of one amid the recovery of
 * what that has left. Held to what the explorer held it to, by the same Subject.
 *
 * Of a failure amid a recovery, each state that is tried for the first cut is recovered again, and that is recorded; the second cut comes where
 * it came before (alike.ts). What is kept is what was seen to fail: the recording that it is a point of goes with it.
 */
import { setImmediate } from 'node:timers/promises';
import { type Breach, contentsAt, type StatePoint } from '../../crash/explorer-failure.js';
import type { ExploredState, Subject } from '../../crash/explorer-subject.js';
import type { CrashProfile } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { StateDevice } from '../../crash/state-device.js';
import type { Trace } from '../../crash/trace.js';
import { UserError } from '../../errors.js';
import { alikeIn } from './alike.js';
import { fewestLosses, type PointState } from './fewest-losses.js';
import { sameElsewhere } from './same-elsewhere.js';

/** The recovery of what the first cut has left, and where the power is cut amid it. */
export interface AmidRecovery {
  readonly trace: Trace;
  readonly point: StatePoint;
  /** The device that was missing while it was recovered. */
  readonly missing: number | null;
}

export interface Failing {
  readonly point: StatePoint;
  /** null: the cut is one of the trace. */
  readonly amid: AmidRecovery | null;
  /** The device that is missing in the state that fails. */
  readonly missing: number | null;
  readonly breach: Breach;
}

export interface FailingStateOptions {
  readonly profile: CrashProfile;
  /** The kind that is to stay. */
  readonly kind: string;
  readonly signal: AbortSignal;
}

/** Of subjects that may have smaller traces, one after another, and are alike but for that. */
export class FailingState<Reading, Obligations> {
  #now: Failing;
  /** The same recovery can be had again. */
  #isRepeatable = true;

  private constructor(
    private readonly options: FailingStateOptions,
    start: Failing,
  ) {
    this.#now = start;
  }

  /** Throws REFUSED where it does not fail as it says. */
  static async of<Reading, Obligations>(
    subject: Subject<Reading, Obligations>,
    start: Omit<Failing, 'breach'>,
    options: FailingStateOptions,
  ): Promise<FailingState<Reading, Obligations>> {
    const unknown = { invariant: options.kind, message: '' };
    const state = new FailingState<Reading, Obligations>(options, { ...start, breach: unknown });
    if (!(await state.#isFound(subject))) throw failsOtherwise(options.kind);
    return state;
  }

  /** As it was last seen to fail. */
  get now(): Failing {
    return this.#now;
  }

  /** False: what recovers it did something else each time, so that of the first cut nothing could be tried. */
  get isRepeatable(): boolean {
    return this.#isRepeatable;
  }

  /** It is run again as it is kept. */
  async failsStill(subject: Subject<Reading, Obligations>): Promise<boolean> {
    const { point, amid } = this.#now;
    const contents = this.contentsOf(subject, point);
    if (amid === null) return this.fails(subject, { point, contents });
    return this.#failsAmid(subject, amid, this.#contentsAmid(contents, amid));
  }

  contentsOf({ trace, initial }: Subject<Reading, Obligations>, point: StatePoint): StateContent[] {
    return contentsAt(trace, initial, this.options.profile, point);
  }

  /** Whether this state of the first cut fails so; it is the one that is kept then. The subject's trace may be a smaller one. */
  async fails(
    subject: Subject<Reading, Obligations>,
    { point, contents }: PointState,
    missing = this.#now.missing,
  ): Promise<boolean> {
    const { amid } = this.#now;
    if (amid !== null) return this.#failsRecoveredAgain(subject, { point, contents }, missing);
    const at = { cut: point.cut, missing, isSecondCut: false };
    const breach = await this.#breach(subject, contents, at);
    return this.#keep({ point, amid: null, missing }, breach);
  }

  /** As few lost and torn writes as can be, at cuts as early as can be; and the member that is missing there, if it fails with it too. */
  async makeFewest(subject: Subject<Reading, Obligations>, isOver: () => boolean): Promise<void> {
    const { profile } = this.options;
    const { trace, initial } = subject;
    if (this.#now.amid !== null && !isOver()) await this.#failsBefore(subject);
    if (this.#now.missing !== null && this.isRepeatable && !isOver()) await this.#failsWithAll(subject);
    await this.#makeFewestAmid(subject, isOver);
    if (!this.isRepeatable) return;
    const { point, amid } = this.#now;
    const fails = (state: PointState) => this.fails(subject, state);
    await fewestLosses({ trace, initial, profile, point, fails, isOver });
    if (this.#now.amid !== amid) await this.#makeFewestAmid(subject, isOver);
  }

  async #makeFewestAmid(subject: Subject<Reading, Obligations>, isOver: () => boolean): Promise<void> {
    const { point: first, amid } = this.#now;
    if (amid === null) return;
    const { profile } = this.options;
    const initial = this.contentsOf(subject, first);
    const fails = ({ point, contents }: PointState) => this.#failsAmid(subject, { ...amid, point }, contents);
    await fewestLosses({ trace: amid.trace, initial, profile, point: amid.point, fails, isOver });
  }

  /** Whether it takes no second cut: what the first has left fails as it is. */
  async #failsBefore(subject: Subject<Reading, Obligations>): Promise<void> {
    const { point, missing } = this.#now;
    const contents = this.contentsOf(subject, point);
    const breach = await this.#breach(subject, contents, { cut: point.cut, missing, isSecondCut: false });
    if (this.#keep({ point, amid: null, missing }, breach)) this.#isRepeatable = true;
  }

  async #failsWithAll(subject: Subject<Reading, Obligations>): Promise<boolean> {
    const { point, amid } = this.#now;
    const contents = this.contentsOf(subject, point);
    if (amid === null || amid.missing !== null) return this.fails(subject, { point, contents }, null);
    return this.#failsAmid(subject, amid, this.#contentsAmid(contents, amid), null);
  }

  async #failsAmid(
    subject: Subject<Reading, Obligations>,
    amid: AmidRecovery,
    contents: readonly StateContent[],
    missing = this.#now.missing,
  ): Promise<boolean> {
    const { point } = this.#now;
    const breach = await this.#breach(subject, contents, { cut: point.cut, missing, isSecondCut: true });
    return this.#keep({ point, amid, missing }, breach);
  }

  /** `missing`: null also puts back the one that was missing while it was recovered. */
  async #failsRecoveredAgain(
    subject: Subject<Reading, Obligations>,
    { point, contents }: PointState,
    missing: number | null,
  ): Promise<boolean> {
    const { profile } = this.options;
    const amid = this.#now.amid!;
    const during = missing === null ? null : amid.missing;
    const trace = await this.#recovery(subject, contents, during);
    if (trace === null) return false;
    const second = alikeIn(amid, { trace, initial: contents, profile });
    const at = { cut: point.cut, missing, isSecondCut: true };
    const breach = await this.#breach(subject, second.contents, at);
    return this.#keep({ point, amid: { trace, point: second.point, missing: during }, missing }, breach);
  }

  /**
   * As it is kept, by what is owed where the file says that the power was cut; and where the cut was amid a recovery also by what is owed at
   * another cut that leaves the same. It is the same recovery, and the explorer holds it to what each of these cuts is owed.
   */
  async #isFound(subject: Subject<Reading, Obligations>): Promise<boolean> {
    const { amid, missing } = this.#now;
    const isFailing =
      (await this.failsStill(subject)) || (amid !== null && (await this.#failsElsewhere(subject)));
    if (!isFailing || amid === null) return isFailing;
    const found = this.#now;
    for (const during of missing === null ? [null] : [null, missing]) {
      this.#now = { ...found, amid: { ...amid, missing: during } };
      const { point } = found;
      if (await this.fails(subject, { point, contents: this.contentsOf(subject, point) })) return true;
    }
    this.#now = found;
    this.#isRepeatable = false;
    return true;
  }

  async #failsElsewhere(subject: Subject<Reading, Obligations>): Promise<boolean> {
    const { trace, initial } = subject;
    const { profile } = this.options;
    const found = this.#now;
    const amid = found.amid!;
    for (const { point, contents } of sameElsewhere({ trace, initial, profile, point: found.point })) {
      this.#now = { ...found, point };
      if (await this.#failsAmid(subject, amid, this.#contentsAmid(contents, amid))) return true;
    }
    this.#now = found;
    return false;
  }

  #contentsAmid(first: readonly StateContent[], { trace, point }: AmidRecovery): StateContent[] {
    return contentsAt(trace, first, this.options.profile, point);
  }

  #keep(state: Omit<Failing, 'breach'>, breach: Breach | null): boolean {
    if (breach?.invariant !== this.options.kind) return false;
    this.#now = { ...state, breach };
    return true;
  }

  async #breach(
    subject: Subject<Reading, Obligations>,
    contents: readonly StateContent[],
    { cut, ...of }: Pick<ExploredState, 'missing' | 'isSecondCut'> & { readonly cut: number },
  ): Promise<Breach | null> {
    const state = await this.#state(subject, contents, of);
    const { reading } = await subject.evaluate(state);
    return subject.check(reading, subject.obligations(cut), state);
  }

  async #recovery(
    subject: Subject<Reading, Obligations>,
    contents: readonly StateContent[],
    missing: number | null,
  ): Promise<Trace | null> {
    const state = await this.#state(subject, contents, { missing, isSecondCut: false });
    return (await subject.evaluate(state)).recovery;
  }

  async #state(
    { trace: { devices } }: Subject<Reading, Obligations>,
    contents: readonly StateContent[],
    of: Pick<ExploredState, 'missing' | 'isSecondCut'>,
  ): Promise<ExploredState> {
    // States in memory wait for nothing: what is to be told to stop must hear of it.
    await setImmediate();
    this.options.signal.throwIfAborted();
    return {
      ...of,
      devices: () =>
        devices.map(({ name, size }, device) =>
          device === of.missing ? null : new StateDevice(contents[device]!.fork(), { name, size }),
        ),
    };
  }
}

function failsOtherwise(kind: string): UserError {
  return new UserError('REFUSED', `the state does not fail with "${kind}"`, {
    hint: 'Make it smaller with what has found it: the same --check and --recover, or --assume-clean.',
  });
}
