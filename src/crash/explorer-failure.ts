/**
 * What is needed to have a state again that a power cut may leave and that breaks an invariant; made as small as it
 * can be without looking at every subset: writes are taken out, or put back, one by one, as long as something breaks.
 */
import type { CrashProfile, PowerLoss, ProfileName } from './profiles.js';
import type { StateContent } from './state-content.js';
import { CutWalk } from './states.js';
import { KeptWrites, type Tear } from './states-kept.js';
import type { Operation, Trace } from './trace.js';

/** One state after one cut. Writes are named by their operations' numbers. */
export interface StatePoint {
  /** The power is cut before this event of the trace happens. */
  readonly cut: number;
  readonly kept: readonly number[];
  readonly dropped: readonly number[];
  readonly torn: readonly { readonly operation: number; readonly tear: Tear }[];
}

/** What does not hold, of which invariant. */
export interface Breach {
  readonly invariant: string;
  readonly message: string;
  /** What a program has said of it. */
  readonly output?: string;
}

export interface Failure extends Breach {
  readonly seed: number;
  readonly profile: ProfileName;
  /** Devices whose power stayed on. */
  readonly spared: readonly number[];
  /** The device that was taken away. */
  readonly missing: number | null;
  readonly point: StatePoint;
  /** Where `point` is amid a recovery: the state that was recovered, and what its recovery did. */
  readonly recovered: { readonly point: StatePoint; readonly trace: Trace } | null;
  /** All of it, for people. */
  readonly text: string;
}

export function pointOf(state: KeptWrites, cut: number): StatePoint {
  const writes = Array.from({ length: state.count }, (_, write) => write);
  const numbers = (isKept: boolean) =>
    writes.filter((write) => state.isKept(write) === isKept).map((write) => state.operation(write).number);
  const torn = [...state.torn].map(([write, tear]) => ({ operation: state.operation(write).number, tear }));
  return { cut, kept: numbers(true), dropped: numbers(false), torn };
}

/** What the devices hold at a point of a trace that began with `initial`. */
export function contentsAt(
  trace: Trace,
  initial: readonly StateContent[],
  loss: CrashProfile | PowerLoss,
  point: StatePoint,
): StateContent[] {
  const walk = new CutWalk(trace, initial, loss);
  walk.advance(point.cut);
  const state = new KeptWrites(walk);
  const tears = new Map<number, Tear>();
  for (let write = 0; write < state.count; write++) {
    const { number } = state.operation(write);
    state.keep(write, point.kept.includes(number));
    const torn = point.torn.find(({ operation }) => operation === number);
    if (torn !== undefined) tears.set(write, torn.tear);
  }
  state.tear(tears);
  return state.contents();
}

/**
 * Leaves `state` in one of the fewest kept or the fewest dropped writes, and of the fewest tears, for which `breaks`
 * is still true. It is true of `state` as it is.
 */
export async function minimise(state: KeptWrites, breaks: () => Promise<boolean>): Promise<void> {
  await mendTears(state, breaks);
  const start = state.kept;
  await flipOneByOne(state, 0, breaks);
  const fewestKept = state.kept;
  state.restore(start);
  await flipOneByOne(state, 1, breaks);
  const dropped = state.kept.flags.filter((flag) => flag === 0).length;
  if (fewestKept.flags.filter((flag) => flag === 1).length <= dropped) state.restore(fewestKept);
}

async function mendTears(state: KeptWrites, breaks: () => Promise<boolean>): Promise<void> {
  for (const write of [...state.torn.keys()]) {
    const torn = state.torn;
    state.tear(new Map([...torn].filter(([other]) => other !== write)));
    if (!(await breaks())) state.tear(torn);
  }
}

async function flipOneByOne(state: KeptWrites, flag: 0 | 1, breaks: () => Promise<boolean>): Promise<void> {
  for (let write = state.count - 1; write >= 0; write--) {
    const before = state.kept;
    if (before.flags[write] === flag || before.tears.has(write)) continue;
    state.restore({ ...before, flags: before.flags.with(write, flag) });
    if (!(await breaks())) state.restore(before);
  }
}

/** All of a failure but its text, and the trace that it is a point of. */
export function describeFailure(failure: Omit<Failure, 'text'>, trace: Trace): string {
  const { recovered, missing, seed, profile, spared } = failure;
  const devices = (recovered?.trace ?? trace).devices;
  return [
    `${failure.invariant}: ${failure.message}`,
    `  seed ${seed}, profile ${profile}`,
    ...(spared.length === 0
      ? []
      : [`  the power stays on: ${spared.map((device) => devices[device]!.name).join(', ')}`]),
    ...(missing === null ? [] : [`  without ${devices[missing]!.name}`]),
    ...describePoint(recovered?.point ?? failure.point, trace),
    ...(recovered === null
      ? []
      : ['  then, amid the recovery of that:', ...describePoint(failure.point, recovered.trace)]),
  ].join('\n');
}

function describePoint({ cut, kept, dropped, torn }: StatePoint, trace: Trace): string[] {
  const operations = new Map<number, Operation>();
  for (const event of trace.events) {
    if (event.kind === 'submit') operations.set(event.operation.number, event.operation);
  }
  const list = (what: string, numbers: readonly number[]) =>
    numbers.map((number) => `    ${what} ${describeOperation(operations.get(number)!, trace)}`);
  const few = kept.length <= dropped.length ? list('kept', kept) : list('lost', dropped);
  return [
    `  cut before event ${cut} of ${trace.events.length}${afterMark(trace, cut)}: of ${kept.length + dropped.length} volatile writes ${kept.length} kept`,
    ...few,
    ...torn.flatMap(({ operation, tear }) => list(`torn (${tear.join('')})`, [operation])),
  ];
}

function afterMark(trace: Trace, cut: number): string {
  const last = trace.events.slice(0, cut).findLast((event) => event.kind === 'mark');
  return last?.kind === 'mark' ? ` (after "${last.mark.name}")` : '';
}

/** For people. */
export function describeOperation(
  { number, kind, device, offset, length, fua }: Operation,
  trace: Trace,
): string {
  return `#${number} ${kind}${fua ? ' with fua' : ''} of ${length} bytes at ${offset} of ${trace.devices[device]!.name}`;
}
