/**
 * A recorded disk and somebody's commands as what the explorer explores: each state is recovered by one command, if there is one, and
 * checked by another, which ends with 0 where all is well.
 *
 * What is owed is that the check holds with the marks that were set before the cut. So of an image that several cuts lead to the check
 * runs once for each number of marks: an image that was well before a promise need not be after it.
 */
import type { Breach } from '../../crash/explorer-failure.js';
import type { Evaluation, ExploredState, Subject } from '../../crash/explorer-subject.js';
import { Recorder } from '../../crash/recorder.js';
import type { StateContent } from '../../crash/state-content.js';
import type { StateDevice } from '../../crash/state-device.js';
import type { Mark, Trace } from '../../crash/trace.js';
import type { CommandRun } from './run-command.js';
import type { Stages } from './stages.js';

export interface CommandSubjectOptions {
  readonly trace: Trace;
  readonly initial: readonly StateContent[];
  readonly stages: Stages;
  readonly check: string;
  /** null: states are checked as they are. */
  readonly recover: string | null;
}

/** Of one image. */
export interface CommandReading {
  /** By how many marks were set. */
  readonly outcomes: Map<number, Breach | null>;
  /** Why it could not be recovered. */
  readonly unrecovered: Breach | null;
  /** As the recovery left it; until it was checked. */
  recovered: readonly (StateDevice | null)[] | null;
}

export class CommandSubject implements Subject<CommandReading, number> {
  readonly losesMembers = false;
  readonly checksDevices = true;
  readonly #marks: readonly Mark[];
  /** Of each event: how many marks were set before. */
  readonly #marksBefore: Uint32Array;
  #checks = 0;
  #writers = 0;

  constructor(private readonly options: CommandSubjectOptions) {
    const { events } = options.trace;
    this.#marks = events.flatMap((event) => (event.kind === 'mark' ? [event.mark] : []));
    this.#marksBefore = new Uint32Array(events.length + 1);
    for (const [at, { kind }] of events.entries())
      this.#marksBefore[at + 1] = this.#marksBefore[at]! + (kind === 'mark' ? 1 : 0);
  }

  /** How often the check has run, and how often it wrote to what it was given. */
  get runs(): { readonly checks: number; readonly writers: number } {
    return { checks: this.#checks, writers: this.#writers };
  }

  get trace(): Trace {
    return this.options.trace;
  }

  get initial(): readonly StateContent[] {
    return this.options.initial;
  }

  /** Any may be one. */
  isPromise(): boolean {
    return true;
  }

  obligations(cut: number): number {
    return this.#marksBefore[cut]!;
  }

  async evaluate(state: ExploredState): Promise<Evaluation<CommandReading>> {
    const { recover } = this.options;
    const outcomes = new Map<number, Breach | null>();
    if (recover === null)
      return { reading: { outcomes, unrecovered: null, recovered: null }, recovery: null };
    const { unrecovered, recovered, recovery } = await this.#recover(recover, state.devices());
    return { reading: { outcomes, unrecovered, recovered }, recovery };
  }

  check(
    reading: CommandReading,
    marks: number,
    state?: ExploredState,
  ): Breach | null | Promise<Breach | null> {
    const known = reading.unrecovered ?? reading.outcomes.get(marks);
    if (known !== undefined) return known;
    const { recovered } = reading;
    reading.recovered = null;
    return this.#check(reading, marks, recovered ?? state!.devices(), recovered !== null);
  }

  async #check(
    reading: CommandReading,
    marks: number,
    devices: readonly (StateDevice | null)[],
    isRecovered: boolean,
  ): Promise<Breach | null> {
    const { recover, check, stages } = this.options;
    // It was recovered and checked, for other marks, and is not kept.
    const again = recover !== null && !isRecovered ? await this.#recover(recover, devices) : null;
    if (again?.unrecovered != null) return again.unrecovered;
    const run = await stages.on((stage) =>
      stage.check(check, again?.recovered ?? devices, this.#marks.slice(0, marks)),
    );
    this.#checks += 1;
    if (run.hasWritten) this.#writers += 1;
    const breach = breachOf('check', run);
    reading.outcomes.set(marks, breach);
    return breach;
  }

  async #recover(command: string, devices: readonly (StateDevice | null)[]) {
    const recorder = new Recorder();
    const recorded = devices.map((device) => device && recorder.record(device, { close: async () => {} }));
    const run = await this.options.stages.on((stage) => stage.recover(command, recorded));
    const recovered = devices.map((device) => device?.fork() ?? null);
    return { unrecovered: breachOf('recover', run), recovered, recovery: recorder.trace };
  }
}

/** null: it ended well. Each exit code is a kind of failure of its own. */
export function breachOf(what: 'check' | 'recover', { end, output }: CommandRun): Breach | null {
  if (end.how === 'exited' && end.code === 0) return null;
  const last = output.trimEnd().split('\n').at(-1) ?? '';
  const said = last === '' ? '' : `: ${last}`;
  switch (end.how) {
    case 'exited':
      return {
        ...{ invariant: `${what} exit ${end.code}`, output },
        message: `the ${what} command ended with exit code ${end.code}${said}`,
      };
    case 'killed':
      return {
        ...{ invariant: `${what} ${end.signal}`, output },
        message: `the ${what} command was ended by ${end.signal}${said}`,
      };
    case 'hung':
      return { invariant: `${what} hung`, output, message: `the ${what} command did not end in time${said}` };
  }
}
