/**
 * The same point in another recording of the same: what recovers a state that is a little smaller does much the same as before, with other
 * numbers. Whether the point that is found fails is for others to say: a recovery that does something else is no harm, only of no use.
 */
import type { StatePoint } from '../../crash/explorer-failure.js';
import type { CrashProfile } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { CutWalk } from '../../crash/states.js';
import { KeptWrites } from '../../crash/states-kept.js';
import type { Operation, Trace } from '../../crash/trace.js';
import { type Loss, lossesOf, type PointState, stateWith } from './fewest-losses.js';

export interface Recording {
  readonly trace: Trace;
  /** What its devices held before. */
  readonly initial: readonly StateContent[];
  readonly profile: CrashProfile;
}

/** Cut behind the last event that both have, as it is in `other`, with what was lost lost there too. */
export function alikeIn(
  { trace, point }: { readonly trace: Trace; readonly point: StatePoint },
  { trace: other, initial, profile }: Recording,
): PointState {
  const counterpart = counterparts(trace, other);
  const walk = new CutWalk(other, initial, profile);
  walk.advance(cutIn(trace, point.cut, other, counterpart));
  const losses = lossesOf(point).flatMap((loss): Loss[] => {
    const operation = counterpart.get(loss.operation);
    return operation === undefined ? [] : [{ ...loss, operation: operation.number }];
  });
  return stateWith(new KeptWrites(walk), walk.cut, losses);
}

function cutIn(
  { events }: Trace,
  cut: number,
  other: Trace,
  counterpart: ReadonlyMap<number, Operation>,
): number {
  for (let at = cut - 1; at >= 0; at--) {
    const event = events[at]!;
    if (event.kind === 'mark') continue;
    const operation = counterpart.get(event.operation.number);
    if (operation === undefined) continue;
    const found = other.events.findIndex((each) => each.kind === event.kind && each.operation === operation);
    if (found >= 0) return found + 1;
  }
  return 0;
}

/** By the numbers of the one the operations of the other: the nth that asks for the same at the same place, whatever it writes there. */
function counterparts(trace: Trace, other: Trace): Map<number, Operation> {
  const waiting = new Map<string, Operation[]>();
  for (const operation of operationsOf(other)) {
    const key = keyOf(operation);
    const alike = waiting.get(key);
    if (alike === undefined) waiting.set(key, [operation]);
    else alike.push(operation);
  }
  const found = new Map<number, Operation>();
  for (const operation of operationsOf(trace)) {
    const alike = waiting.get(keyOf(operation))?.shift();
    if (alike !== undefined) found.set(operation.number, alike);
  }
  return found;
}

function operationsOf({ events }: Trace): Operation[] {
  return events.flatMap((event) => (event.kind === 'submit' ? [event.operation] : []));
}

function keyOf({ device, kind, offset, length, fua }: Operation): string {
  return `${device} ${kind} ${offset} ${length} ${fua}`;
}
