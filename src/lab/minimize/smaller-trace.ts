/**
 * The fewest events with which a failing state fails still: operations and marks are left out, as if they had never been, as long as
 *
 * - the state fails as before, the same kind, with what is left of the writes that were kept, lost or torn;
 * - with all that is left written, and no power cut, the check holds: what is left is a program that could be right. What comes behind the
 *   cut is left out at once, but where the check needs it for that (something was said to be there, and was not even asked for by then);
 * - no write becomes volatile that was durable: a flush goes only where nothing needs it.
 *
 * By halves first, then by quarters, down to single ones (delta debugging: Zeller and Hildebrandt, "Simplifying and Isolating
 * Failure-Inducing Input", 2002), until none can go.
 */
import { contentsAt, type StatePoint } from '../../crash/explorer-failure.js';
import type { CrashProfile } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { CutWalk } from '../../crash/states.js';
import type { Mark, Operation, Trace, TraceEvent } from '../../crash/trace.js';
import { UserError } from '../../errors.js';

export interface Smallest {
  readonly trace: Trace;
  readonly point: StatePoint;
}

export interface MinimizeOptions {
  readonly trace: Trace;
  readonly initial: readonly StateContent[];
  readonly profile: CrashProfile;
  readonly point: StatePoint;
  /** What is wrong with it, with these marks set; null: nothing. */
  readonly kindOf: (contents: readonly StateContent[], marks: readonly Mark[]) => Promise<string | null>;
  /** The one that is to stay. */
  readonly kind: string;
  /** Asked before each try: whether it is enough. */
  readonly isOver: () => boolean;
  readonly onProgress: (left: number) => void;
}

/** An operation, with its completion, or a mark. */
type Unit = Operation | Mark;

/** Throws REFUSED where it does not fail as it says, or where the check fails without a cut there too. */
export async function smallestTrace(options: MinimizeOptions): Promise<Smallest> {
  const { cut } = options.point;
  let events: readonly TraceEvent[] = options.trace.events.slice(0, cut);
  if (!(await failsStill(options, smaller(options, events, unitsOf(events))))) events = options.trace.events;
  let units = unitsOf(events);
  if (!(await failsStill(options, smaller(options, events, units)))) throw failsOtherwise(options.kind);
  const tryWithout = async (start: number, count: number): Promise<boolean> => {
    const fewer = units.toSpliced(start, count);
    if (!(await failsStill(options, smaller(options, events, fewer)))) return false;
    units = fewer;
    options.onProgress(units.length);
    return true;
  };
  for (let count = Math.ceil(units.length / 2); count >= 1; count = count === 1 ? 0 : Math.ceil(count / 2)) {
    let hasChanged = true;
    while (hasChanged) {
      hasChanged = false;
      // From the end: what was asked for last needs what came before it, and not the other way round.
      for (let start = units.length - 1; start >= 0; start -= count) {
        if (options.isOver()) return smaller(options, events, units);
        const from = Math.max(0, start - count + 1);
        if (await tryWithout(from, start - from + 1)) hasChanged = count === 1;
      }
    }
  }
  return smaller(options, events, units);
}

function unitsOf(events: readonly TraceEvent[]): Unit[] {
  return events.flatMap((event): Unit[] => {
    if (event.kind === 'complete') return [];
    return [event.kind === 'submit' ? event.operation : event.mark];
  });
}

function smaller(
  { trace, point }: MinimizeOptions,
  events: readonly TraceEvent[],
  units: readonly Unit[],
): Smallest {
  const kept = new Set(units);
  const isLeft = (event: TraceEvent) => kept.has(event.kind === 'mark' ? event.mark : event.operation);
  const left = events.filter(isLeft);
  const numbers = new Set(units.flatMap((unit) => ('number' in unit ? [unit.number] : [])));
  return {
    trace: { devices: trace.devices, events: left },
    point: {
      cut: events.slice(0, point.cut).filter(isLeft).length,
      kept: point.kept.filter((number) => numbers.has(number)),
      dropped: point.dropped.filter((number) => numbers.has(number)),
      torn: point.torn.filter(({ operation }) => numbers.has(operation)),
    },
  };
}

async function failsStill(options: MinimizeOptions, { trace, point }: Smallest): Promise<boolean> {
  const { initial, profile, kindOf, kind } = options;
  const walk = new CutWalk(trace, initial, profile);
  walk.advance(point.cut);
  const volatile = new Set([...options.point.kept, ...options.point.dropped]);
  if (walk.volatile.some(({ operation }) => !volatile.has(operation.number))) return false;
  const before = trace.events.slice(0, point.cut);
  if ((await kindOf(contentsAt(trace, initial, profile, point), marksOf(before))) !== kind) return false;
  walk.advance(trace.events.length);
  const all = walk.volatile.map(({ operation }) => operation.number);
  const end = { cut: trace.events.length, kept: all, dropped: [], torn: [] };
  return (await kindOf(contentsAt(trace, initial, profile, end), marksOf(trace.events))) === null;
}

function marksOf(events: readonly TraceEvent[]): Mark[] {
  return events.flatMap((event) => (event.kind === 'mark' ? [event.mark] : []));
}

function failsOtherwise(kind: string): UserError {
  return new UserError(
    'REFUSED',
    `the state does not fail with "${kind}", or the check fails though no power is cut`,
    { hint: 'Give the check that has found it; one that sees no cut has to hold there.' },
  );
}
