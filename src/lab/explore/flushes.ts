/**
 * What each flush of a recorded program is worth: the trace is explored as if that flush had never been asked for. Where a state fails
 * then, the program needs it; where none does it is not needed, or the check does not see what it is for.
 */
import type { Operation } from '../../crash/trace.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { UserError } from '../../errors.js';
import type { ExploredTrace } from './explore-trace.js';

export interface FlushPlace {
  /** Counted from 1 over all devices. */
  readonly number: number;
  readonly device: string;
  /** Where it is submitted. */
  readonly event: number;
  /** The last mark before it; null: there is none. */
  readonly afterMark: string | null;
}

export interface FlushOutcome extends FlushPlace {
  readonly explored: ExploredTrace;
}

export function flushesOf(trace: StoredTrace): FlushPlace[] {
  const found: FlushPlace[] = [];
  let afterMark: string | null = null;
  for (const [event, each] of trace.events.entries()) {
    if (each.kind === 'mark') afterMark = each.mark.name;
    if (each.kind !== 'submit' || each.operation.kind !== 'flush') continue;
    const { name } = trace.devices[each.operation.device]!;
    found.push({ number: found.length + 1, device: name, event, afterMark });
  }
  return found;
}

/** The same without that one. Throws OUT_OF_RANGE where there are not so many. */
export function withoutFlush(trace: StoredTrace, number: number): StoredTrace {
  const places = flushesOf(trace);
  const place = places[number - 1];
  if (place === undefined)
    throw new UserError('OUT_OF_RANGE', `there is no flush ${number}: the trace has ${places.length}`);
  const event = trace.events[place.event]!;
  const flush: Operation | null = event.kind === 'submit' ? event.operation : null;
  const isKept = trace.events.map((each) => each.kind === 'mark' || each.operation !== flush);
  const left = new Uint32Array(isKept.length + 1);
  for (const [at, kept] of isKept.entries()) left[at + 1] = left[at]! + (kept ? 1 : 0);
  return {
    ...trace,
    requests: trace.requests.map((each) => ({ ...each, at: left[each.at]! })),
    events: trace.events.filter((_, at) => isKept[at]),
    times: trace.times.filter((_, at) => isKept[at]),
  };
}

/** One after another, each as `explored` says. */
export async function* eachFlush(
  trace: StoredTrace,
  explored: (trace: StoredTrace) => Promise<ExploredTrace>,
): AsyncGenerator<FlushOutcome> {
  for (const place of flushesOf(trace))
    yield { ...place, explored: await explored(withoutFlush(trace, place.number)) };
}
