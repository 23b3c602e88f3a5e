/**
 * The fewest events with which a failing state fails still: operations and marks are left out, as if they had never been, as long as
 *
 * - the state fails as before, the same kind, with what is left of the writes that were kept, lost or torn;
 * - with all that is left written, and no power cut, the check holds: what is left is a program that could be right. What comes behind the
 *   cut is left out at once, but where the check needs it for that (something was said to be there, and was not even asked for by then);
 * - no write becomes volatile that was durable: a flush goes only where nothing needs it.
 */
import type { StatePoint } from '../../crash/explorer-failure.js';
import type { CrashProfile } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { CutWalk } from '../../crash/states.js';
import type { Mark, Operation, Trace, TraceEvent } from '../../crash/trace.js';
import { UserError } from '../../errors.js';
import { fewest } from './fewest.js';

export interface Smallest {
  readonly trace: Trace;
  readonly point: StatePoint;
}

export interface MinimizeOptions {
  readonly trace: Trace;
  readonly initial: readonly StateContent[];
  readonly profile: CrashProfile;
  readonly point: StatePoint;
  /** Whether the state is wrong as it was. */
  readonly fails: (smaller: Smallest) => Promise<boolean>;
  /** Whether all is well with what the whole trace leaves, and no power cut. */
  readonly holds: (trace: Trace) => Promise<boolean>;
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
  const all = unitsOf(events);
  if (!(await failsStill(options, smaller(options, events, all)))) throw failsOtherwise();
  const { isOver, onProgress } = options;
  const holds = (units: readonly Unit[]) => failsStill(options, smaller(options, events, units));
  return smaller(options, events, await fewest(all, { holds, isOver, onProgress }));
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

async function failsStill(options: MinimizeOptions, smaller: Smallest): Promise<boolean> {
  const { initial, profile, fails, holds } = options;
  const { trace, point } = smaller;
  const walk = new CutWalk(trace, initial, profile);
  walk.advance(point.cut);
  const volatile = new Set([...options.point.kept, ...options.point.dropped]);
  if (walk.volatile.some(({ operation }) => !volatile.has(operation.number))) return false;
  // In this order: what fails last is what is left.
  return (await holds(trace)) && (await fails(smaller));
}

function failsOtherwise(): UserError {
  return new UserError('REFUSED', 'the check fails though no power is cut, or not each time', {
    hint: 'Give the check that has found it: one that sees no cut has to hold, and it has to say the same of the same state.',
  });
}
