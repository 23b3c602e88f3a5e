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
 * - How many states are looked at at once changes nothing of what is found: all of a cut has ended before the next one begins.
 */
import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { choices, EVERY_SUBSET } from './choices.js';
import { Coverage } from './coverage.js';
import { type Breach, describeFailure, type Failure, minimise, pointOf } from './explorer-failure.js';
import { cutsOf, type Journey } from './explorer-journey.js';
import { type Found, type Look, Looks } from './explorer-looks.js';
import { Recoveries, type Recovery } from './explorer-recoveries.js';
import { PowerSum, type Report, type StoppedBy } from './explorer-report.js';
import type { Evaluation, ExploredState, ExploreOptions, Subject } from './explorer-subject.js';
import { DEFAULT_PROFILE, PowerLoss, PROFILES } from './profiles.js';
import { SeededRandom } from './seeded-random.js';
import type { StateContent } from './state-content.js';
import { StateDevice } from './state-device.js';
import { CutWalk } from './states.js';
import { type KeptState, KeptWrites } from './states-kept.js';
import { SeenStates } from './states-seen.js';

/** Cuts amid recoveries take so much of all states, as long as any wait, and the rest when first cuts are done. */
const SECOND_CUTS_SHARE = 0.3;
/** How often the clock is looked at, in states. */
const CLOCK_EVERY = 4096;

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

/** As it came up, whatever comes after it. */
interface State extends ExploredState {
  readonly kept: KeptState;
  contents(): readonly StateContent[];
}

class Explorer<Reading, Obligations> {
  private readonly loss: PowerLoss;
  private readonly seen = new SeenStates<Reading>();
  private readonly started = performance.now();
  private readonly recoveries = new Recoveries<Obligations>();
  private readonly failures: Failure[] = [];
  /** Of each invariant: how many states break it. */
  private readonly breaches = new Map<string, number>();
  /** What was recovered before somebody was owed more. */
  private unpaid: { readonly recovery: Recovery<Obligations>; readonly obligations: Obligations }[] = [];
  private readonly reachable = new PowerSum();
  private readonly reachableTorn = new PowerSum();
  private readonly unseen = new PowerSum();
  private readonly coverage: Coverage;
  private stoppedBy: StoppedBy = null;
  private isLate = false;
  private states = 0;
  private secondStates = 0;
  private evaluations = 0;
  private checks = 0;
  /** Of these: of states that nobody waited for. Those that are waited for are counted in their turn. */
  private checksAtOnce = 0;
  private cuts = 0;
  private exhaustiveCuts = 0;

  constructor(
    private readonly subject: Subject<Reading, Obligations>,
    private readonly options: ExploreOptions,
  ) {
    this.loss = new PowerLoss(PROFILES[options.profile ?? DEFAULT_PROFILE], new Set(options.spared));
    const { devices } = subject.trace;
    this.coverage = new Coverage(options.roleOf ?? (({ device }) => basename(devices[device]!.name)));
  }

  async run(): Promise<Report> {
    const { subject } = this;
    const all = subject.initial.map((_, device) => device);
    const each = subject.losesMembers ? (subject.members ?? all) : [];
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
      await this.pay();
      this.options.onProgress?.(this.report());
      // States in memory wait for nothing: what is to be told to stop must hear of it.
      if (this.options.signal !== undefined) await setImmediate();
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
    const { seen, cuts, options } = this;
    const enough = this.evaluations + (options.maxImagesPerCut ?? Number.POSITIVE_INFINITY);
    const looks = this.looksAt(place);
    const cover = this.coverage.at(state);
    let subsets = 0;
    every: for (const kind of choices(state, { random })) {
      for (const missing of place.journey.missing) {
        if (this.isOver() || this.evaluations >= enough || looks.isEnough) break every;
        this.states += 1;
        cover(this.states);
        const number = seen.number(state, missing);
        if (!seen.owesCheck(number, cuts)) continue;
        const ends = this.look(place, this.stateOf(place, state, missing), number);
        if (ends === null) this.passed(place, number);
        else {
          const { states, evaluations: images, checksAtOnce } = this;
          const counts = { states, images, checksAtOnce, subsets };
          await looks.add({ number, missing, kept: state.kept, counts, ends });
        }
      }
      if (kind === 'subset') subsets += 1;
    }
    const stoppedAt = await looks.end();
    if (stoppedAt !== null) {
      subsets = stoppedAt.subsets;
      this.states = stoppedAt.states;
      this.coverage.takeBack(this.states);
      this.evaluations = stoppedAt.images;
      this.checks -= this.checksAtOnce - stoppedAt.checksAtOnce;
    }
    for (const found of looks.found) await this.fail(place, found);
    return subsets;
  }

  private looksAt(place: Place<Obligations>): Looks {
    const { atOnce = 1, maxFailures = 1 } = this.options;
    return new Looks({
      atOnce,
      most: maxFailures - this.failures.length,
      isNew: ({ invariant }) => {
        this.breaches.set(invariant, (this.breaches.get(invariant) ?? 0) + 1);
        return this.failures.every((failure) => failure.invariant !== invariant);
      },
      passed: ({ number }) => this.passed(place, number),
    });
  }

  /** null: it was read before, and all is well. */
  private look(place: Place<Obligations>, state: State, number: number): Look['ends'] | null {
    const reading = this.seen.reading(number);
    if (reading === undefined) return this.readAndCheck(place, state, number);
    const tally = { checks: 0 };
    const breach = this.check(place, reading, state, tally);
    const settle = () => {
      this.checks += tally.checks;
    };
    if (breach !== null) return Promise.resolve(breach).then((found) => ({ breach: found, settle }));
    settle();
    this.checksAtOnce += tally.checks;
    return null;
  }

  private async readAndCheck(place: Place<Obligations>, state: State, number: number) {
    const evaluation = await this.evaluate(state);
    const tally = { checks: 0 };
    const breach = await this.check(place, evaluation.reading, state, tally);
    const settle = () => {
      this.checks += tally.checks;
      this.wasRead(place, state, number, evaluation);
    };
    return { breach, settle };
  }

  /** The first obligation that is not met. */
  private check(
    { obligations }: Place<Obligations>,
    reading: Reading,
    state: State,
    tally: { checks: number },
  ): Breach | null | Promise<Breach | null> {
    const checkFrom = (start: number): Breach | null | Promise<Breach | null> => {
      for (let at = start; at < obligations.length; at++) {
        tally.checks += 1;
        const breach = this.subject.check(reading, obligations[at]!, state);
        if (breach instanceof Promise) return breach.then((found) => found ?? checkFrom(at + 1));
        if (breach !== null) return breach;
      }
      return null;
    };
    return checkFrom(0);
  }

  /** All that is owed is there, and is owed to what a cut amid the recovery leaves too. */
  private passed({ journey, obligations }: Place<Obligations>, number: number): void {
    if (journey.recovered !== null) {
      journey.recovered.left.add(number);
      return;
    }
    const recovery = this.recoveries.of(number);
    if (recovery === undefined) return;
    for (const each of obligations) {
      if (recovery.owed.has(each)) continue;
      recovery.owed.add(each);
      if (recovery.left.size > 0) this.unpaid.push({ recovery, obligations: each });
    }
  }

  /** The states that cuts amid a recovery have left are owed what the state is owed that was recovered. */
  private async pay(): Promise<void> {
    const { unpaid } = this;
    this.unpaid = [];
    for (const { recovery, obligations } of unpaid) {
      if (await this.areKept(recovery, obligations)) continue;
      // What was read already costs nothing: to go through it once more finds the place.
      for await (const _ of this.explore({ ...recovery, obligations: () => [obligations] }));
    }
  }

  /** By what was read in them: false where that does not tell. */
  private async areKept({ left }: Recovery<Obligations>, obligations: Obligations): Promise<boolean> {
    if (this.subject.checksDevices === true) return false;
    for (const number of left) {
      this.checks += 1;
      if ((await this.subject.check(this.seen.reading(number)!, obligations)) !== null) return false;
    }
    return true;
  }

  private stateOf({ journey }: Place<Obligations>, kept: KeptWrites, missing: number | null): State {
    let contents: readonly StateContent[] | null = null;
    const now = () => {
      contents ??= kept.contents();
      return contents;
    };
    return {
      ...{ missing, kept: kept.kept, contents: now, isSecondCut: journey.recovered !== null },
      devices: () => this.devicesOf(now(), missing),
    };
  }

  private async evaluate(state: State): Promise<Evaluation<Reading>> {
    this.options.signal?.throwIfAborted();
    this.evaluations += 1;
    // Of several at once each is what it was when it came up.
    state.contents();
    const evaluation = await this.subject.evaluate(state);
    this.lookAtClock();
    return evaluation;
  }

  private wasRead(
    { journey, walk }: Place<Obligations>,
    state: State,
    number: number,
    { reading, recovery }: Evaluation<Reading>,
  ): void {
    this.seen.read(number, reading);
    if (recovery === null || recovery.events.length === 0 || state.isSecondCut) return;
    const { missing } = state;
    const point = () => pointOf(new KeptWrites(walk).restore(state.kept), walk.cut);
    const recovered = { number, contents: state.contents(), point, missing, mayMiss: journey.missing };
    this.recoveries.add(recovered, recovery);
  }

  private devicesOf(contents: readonly StateContent[], missing: number | null): (StateDevice | null)[] {
    return this.subject.trace.devices.map(({ name, size }, device) =>
      device === missing ? null : new StateDevice(contents[device]!.fork(), { name, size }),
    );
  }

  /** Makes it small. Stops the run if it has found enough. */
  private async fail(place: Place<Obligations>, { kept, missing, breach }: Found): Promise<void> {
    const state = new KeptWrites(place.walk).restore(kept);
    const { evaluations, checks } = this;
    let smallest = breach;
    await minimise(state, async () => {
      const number = this.seen.number(state, missing);
      const look = this.look(place, this.stateOf(place, state, missing), number);
      if (look === null) return false;
      const ended = await look;
      ended.settle();
      if (ended.breach?.invariant !== breach.invariant) return false;
      smallest = ended.breach;
      return true;
    });
    // What is counted is what was come upon.
    this.evaluations = evaluations;
    this.checks = checks;
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
      coverage: this.coverage.pairs,
      seconds: (performance.now() - this.started) / 1000,
      breaches: Object.fromEntries(this.breaches),
      failures: this.failures,
    };
  }
}

/** 2^bits less some of them, as a power of two. */
function bitsWithout(bits: number, seen: number): number {
  return bits < 50 ? Math.log2(2 ** bits - seen) : bits;
}
