/**
 * Explores what power cuts may leave (docs/crash-model.md): a trace is cut at every event, each state that the cut may
 * leave is looked at (choices.ts says which), with all devices and with each single one missing, and the recovery of
 * each is cut once more. What is explored, how it is recovered and what must hold is the Subject's.
 *
 * Invariants
 * - A state is evaluated once, however many cuts lead to it; its reading is checked for every one of them.
 * - A state that a second cut leaves is owed what every cut that leads to the first state was owed.
 * - The same subject and seed are the same run. A limit of time alone may end it elsewhere.
 * - What was not looked at is counted, and nothing is called exhaustive that was cut short.
 */
import { choices, EVERY_SUBSET } from './choices.js';
import { type Breach, describeFailure, type Failure, minimise, pointOf } from './explorer-failure.js';
import { cutsOf, type Journey } from './explorer-journey.js';
import { Recoveries, type Recovery } from './explorer-recoveries.js';
import { PowerSum, type Report, type StoppedBy } from './explorer-report.js';
import { DEFAULT_PROFILE, PowerLoss, PROFILES, type ProfileName } from './profiles.js';
import { SeededRandom } from './seeded-random.js';
import type { StateContent } from './state-content.js';
import { StateDevice } from './state-device.js';
import { CutWalk } from './states.js';
import { KeptWrites } from './states-kept.js';
import { SeenStates } from './states-seen.js';
import type { Mark, Trace } from './trace.js';

/** Cuts amid recoveries take so much of all states, as long as any wait, and the rest when first cuts are done. */
const SECOND_CUTS_SHARE = 0.3;
/** How often the clock is looked at, in states. */
const CLOCK_EVERY = 4096;

/** One state that a cut may leave. */
export interface ExploredState {
  /** The device that was taken away after the cut. */
  readonly missing: number | null;
  /** The power was cut amid a recovery. */
  readonly isSecondCut: boolean;
  /** New ones at each call, to be written at will; null is the missing one. */
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
  /** Whether a mark says that something was acknowledged: cuts behind it come first. */
  isPromise(mark: Mark): boolean;
  /** What is owed to whoever finds what a cut at this event left. */
  obligations(cut: number): Obligations;
  evaluate(state: ExploredState): Promise<Evaluation<Reading>>;
  /** null: all that is owed is there. */
  check(reading: Reading, obligations: Obligations): Breach | null;
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
}

export function explore<Reading, Obligations>(
  subject: Subject<Reading, Obligations>,
  options: ExploreOptions,
): Promise<Report> {
  return new Explorer(subject, options).run();
}

/** Where the run is. */
interface Place<Obligations> {
  readonly journey: Journey<Obligations>;
  readonly walk: CutWalk;
  readonly obligations: readonly Obligations[];
}

class Explorer<Reading, Obligations> {
  private readonly loss: PowerLoss;
  private readonly seen = new SeenStates<Reading>();
  private readonly started = performance.now();
  private readonly recoveries = new Recoveries<Obligations>();
  private readonly failures: Failure[] = [];
  private readonly reachable = new PowerSum();
  private readonly reachableTorn = new PowerSum();
  private readonly unseen = new PowerSum();
  private stoppedBy: StoppedBy = null;
  private isLate = false;
  private states = 0;
  private secondStates = 0;
  private evaluations = 0;
  private checks = 0;
  private cuts = 0;
  private exhaustiveCuts = 0;

  constructor(
    private readonly subject: Subject<Reading, Obligations>,
    private readonly options: ExploreOptions,
  ) {
    this.loss = new PowerLoss(PROFILES[options.profile ?? DEFAULT_PROFILE], new Set(options.spared));
  }

  async run(): Promise<Report> {
    const { subject } = this;
    const each = subject.losesMembers ? subject.initial.map((_, device) => device) : [];
    const first: Journey<Obligations> = {
      trace: subject.trace,
      initial: subject.initial,
      missing: [null, ...each],
      isPromise: (mark) => subject.isPromise(mark),
      obligations: (cut) => [subject.obligations(cut)],
      recovered: null,
    };
    for await (const _ of this.explore(first)) {
      while (this.secondStates < this.states * SECOND_CUTS_SHARE && (await this.cutNextRecovery()));
    }
    while (await this.cutNextRecovery());
    return this.report();
  }

  private async cutNextRecovery(): Promise<boolean> {
    if (this.recoveries.waitingCount === 0 || this.isOver()) return false;
    const recovery = this.recoveries.take()!;
    const before = this.states;
    for await (const _ of this.explore(recovery));
    this.secondStates += this.states - before;
    return true;
  }

  /** Looks at all states of one cut, then gives way. */
  private async *explore(journey: Journey<Obligations>): AsyncGenerator<void> {
    const start = () => new CutWalk(journey.trace, journey.initial, this.loss);
    let walk = start();
    for (const cut of cutsOf(journey, this.loss)) {
      if (cut < walk.cut) walk = start();
      walk.advance(cut);
      await this.cut({ journey, walk, obligations: journey.obligations(cut) });
      yield;
    }
  }

  private async cut(place: Place<Obligations>): Promise<void> {
    const state = new KeptWrites(place.walk);
    this.cuts += 1;
    const seed = Math.imul(this.options.seed + 1, 0x9e3779b1) ^ Math.imul(this.cuts, 0x85ebca6b);
    const subsets = await this.lookAt(place, state, new SeededRandom(seed));
    const variants = Math.log2(place.journey.missing.length);
    this.reachable.add(state.count + variants);
    this.reachableTorn.add(state.reachableBits + variants);
    if (state.count <= EVERY_SUBSET && subsets === 2 ** state.count) this.exhaustiveCuts += 1;
    else this.unseen.add(variants + bitsWithout(state.count, subsets));
  }

  /** How many subsets were seen, with each missing device. */
  private async lookAt(place: Place<Obligations>, state: KeptWrites, random: SeededRandom): Promise<number> {
    const { seen, cuts } = this;
    const enough = this.evaluations + (this.options.maxImagesPerCut ?? Number.POSITIVE_INFINITY);
    let subsets = 0;
    for (const kind of choices(state, { random })) {
      for (const missing of place.journey.missing) {
        if (this.isOver() || this.evaluations >= enough) return subsets;
        this.states += 1;
        const number = seen.number(state, missing);
        const reading = seen.reading(number) ?? (await this.evaluate(place, state, missing));
        if (!seen.owesCheck(number, cuts)) continue;
        const breach = await this.check(place, number, reading);
        if (breach !== null) await this.fail(place, state, missing, breach);
      }
      if (kind === 'subset') subsets += 1;
    }
    return subsets;
  }

  private async check(
    { journey, obligations }: Place<Obligations>,
    number: number,
    reading: Reading,
  ): Promise<Breach | null> {
    const recovery = this.recoveries.of(number);
    for (const each of obligations) {
      this.checks += 1;
      const breach = this.subject.check(reading, each);
      if (breach !== null) return breach;
      if (journey.recovered === null && recovery !== undefined) await this.owe(recovery, each);
    }
    if (journey.recovered !== null) journey.recovered.left.add(number);
    return null;
  }

  /** The states that cuts amid the recovery have left are owed what the state is owed that was recovered. */
  private async owe(recovery: Recovery<Obligations>, obligations: Obligations): Promise<void> {
    if (recovery.owed.has(obligations)) return;
    recovery.owed.add(obligations);
    for (const number of recovery.left) {
      this.checks += 1;
      if (this.subject.check(this.seen.reading(number)!, obligations) === null) continue;
      // All of it was read already: to go through it once more finds the place.
      for await (const _ of this.explore({ ...recovery, obligations: () => [obligations] }));
      return;
    }
  }

  private async evaluate(
    { journey, walk }: Place<Obligations>,
    state: KeptWrites,
    missing: number | null,
  ): Promise<Reading> {
    const contents = state.contents();
    const isSecondCut = journey.recovered !== null;
    const { reading, recovery } = await this.subject.evaluate({
      missing,
      isSecondCut,
      devices: () => this.devicesOf(contents, missing),
    });
    const number = this.seen.number(state, missing);
    this.seen.read(number, reading);
    this.evaluations += 1;
    this.lookAtClock();
    if (recovery === null || recovery.events.length === 0 || isSecondCut) return reading;
    const point = () => pointOf(state, walk.cut);
    this.recoveries.add({ number, contents, point, missing, mayMiss: journey.missing }, recovery);
    return reading;
  }

  private devicesOf(contents: readonly StateContent[], missing: number | null): (StateDevice | null)[] {
    return this.subject.trace.devices.map(({ name, size }, device) =>
      device === missing ? null : new StateDevice(contents[device]!.fork(), { name, size }),
    );
  }

  /** Makes it small, and stops the run if it has found enough. Of one invariant the first breach tells enough. */
  private async fail(
    place: Place<Obligations>,
    found: KeptWrites,
    missing: number | null,
    breach: Breach,
  ): Promise<void> {
    if (this.failures.some((failure) => failure.invariant === breach.invariant)) return;
    const state = new KeptWrites(place.walk);
    for (let write = 0; write < found.count; write++) state.keep(write, found.isKept(write));
    state.tear(found.torn);
    let smallest = breach;
    await minimise(state, async () => {
      const number = this.seen.number(state, missing);
      const reading = this.seen.reading(number) ?? (await this.evaluate(place, state, missing));
      const still = await this.check(place, number, reading);
      if (still?.invariant !== breach.invariant) return false;
      smallest = still;
      return true;
    });
    const failure = {
      ...smallest,
      seed: this.options.seed,
      profile: this.loss.profile.name,
      spared: [...this.loss.spared],
      missing,
      point: pointOf(state, place.walk.cut),
      recovered: place.journey.recovered,
    };
    this.failures.push({ ...failure, text: describeFailure(failure, this.subject.trace) });
    if (this.failures.length >= (this.options.maxFailures ?? 1)) this.stoppedBy = 'failures';
  }

  /** Asked before anything more is looked at: whether that is not to be. */
  private isOver(): boolean {
    if (this.states % CLOCK_EVERY === 0) this.lookAtClock();
    const { maxStates = Number.POSITIVE_INFINITY, maxImages = Number.POSITIVE_INFINITY } = this.options;
    if (this.stoppedBy === null) {
      if (this.states >= maxStates) this.stoppedBy = 'states';
      else if (this.evaluations >= maxImages) this.stoppedBy = 'images';
      else if (this.isLate) this.stoppedBy = 'seconds';
    }
    return this.stoppedBy !== null;
  }

  private lookAtClock(): void {
    const { maxSeconds = Number.POSITIVE_INFINITY } = this.options;
    this.isLate = performance.now() - this.started >= maxSeconds * 1000;
  }

  private report(): Report {
    const { cuts, exhaustiveCuts, stoppedBy } = this;
    return {
      seed: this.options.seed,
      profile: this.loss.profile.name,
      stoppedBy,
      states: this.states,
      images: this.evaluations,
      equal: Math.max(0, this.states - this.evaluations),
      checks: this.checks,
      cuts,
      exhaustiveCuts,
      isExhaustive: stoppedBy === null && exhaustiveCuts === cuts,
      reachableBits: this.reachable.bits ?? 0,
      reachableTornBits: this.reachableTorn.bits ?? 0,
      leftBits: this.unseen.bits,
      recoveries: this.recoveries.count,
      cutRecoveries: this.recoveries.count - this.recoveries.waitingCount,
      seconds: (performance.now() - this.started) / 1000,
      failures: this.failures,
    };
  }
}

/** 2^bits less some of them, as a power of two. */
function bitsWithout(bits: number, seen: number): number {
  return bits < 50 ? Math.log2(2 ** bits - seen) : bits;
}
