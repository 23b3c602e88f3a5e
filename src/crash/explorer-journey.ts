/**
 * What is cut: the trace of a workload, or of the recovery of a state that a cut has left. And the order of its cuts:
 * those at acknowledgements and flushes come first, because that is where promises are made; the others come spread
 * over the trace, so that a run that is cut short has seen something of all of it.
 */
import { createHash } from 'node:crypto';
import type { StatePoint } from './explorer-failure.js';
import type { PowerLoss } from './profiles.js';
import type { StateContent } from './state-content.js';
import { CutWalk } from './states.js';
import type { Mark, Operation, Trace } from './trace.js';

export interface Journey<Obligations> {
  readonly trace: Trace;
  readonly initial: readonly StateContent[];
  /** Each state is looked at with all devices (null) and without these. */
  readonly missing: readonly (number | null)[];
  isPromise(mark: Mark): boolean;
  /** All that is owed to a cut there. */
  obligations(cut: number): readonly Obligations[];
  /** The state whose recovery it is; `left` is where the numbers of the states that its cuts leave go. */
  readonly recovered: {
    readonly point: StatePoint;
    readonly trace: Trace;
    readonly left: Set<number>;
  } | null;
}

/**
 * Every cut after which something else may be left, or something else is owed, than after the one before: the first
 * of those that are alike. `isPromise`: which marks say that something was acknowledged.
 */
export function cutsOf(
  { trace, initial, isPromise }: Pick<Journey<unknown>, 'trace' | 'initial' | 'isPromise'>,
  loss: PowerLoss,
): number[] {
  const walk = new CutWalk(trace, initial, loss);
  const promises = promisesToClients(trace);
  const hasPromised = new Set(promises);
  const others = [0].filter((cut) => !hasPromised.has(cut));
  for (const [index, event] of trace.events.entries()) {
    if (!walk.advance(index + 1) || hasPromised.has(index + 1)) continue;
    const comesFirst =
      event.kind === 'mark'
        ? isPromise(event.mark)
        : event.kind === 'complete' && event.operation.kind === 'flush';
    (comesFirst ? promises : others).push(index + 1);
  }
  return [...promises, ...spread(others)];
}

/** Where a client has heard that something is durable. */
function promisesToClients({ requests = [] }: Trace): number[] {
  const cuts = requests.flatMap(({ is, at, request: { kind, fua } }) =>
    is === 'answered' && (kind === 'flush' || fua) ? [at] : [],
  );
  return [...new Set(cuts)];
}

/** The first, one amid, one amid each half, and so on (van der Corput's sequence). */
function spread(cuts: readonly number[]): number[] {
  const bits = Math.ceil(Math.log2(cuts.length + 1));
  const reversed = (index: number): number => {
    let place = 0;
    for (let bit = 0; bit < bits; bit++) if ((index & (1 << bit)) !== 0) place |= 1 << (bits - 1 - bit);
    return place;
  };
  const places = Array.from({ length: 2 ** bits }, (_, index) => reversed(index));
  return places.flatMap((place) => cuts[place] ?? []);
}

/** The same for recoveries that write the same to the same places, in whatever order. */
export function writesKey(trace: Trace): string {
  return keyOf(trace, ({ bytes }) =>
    bytes === null ? '' : createHash('sha256').update(bytes).digest('base64'),
  );
}

/** The same for recoveries that write to the same places, whatever it is. */
export function placesKey(trace: Trace): string {
  return keyOf(trace, () => 'anything');
}

function keyOf(trace: Trace, contentOf: (operation: Operation) => string): string {
  const writes = trace.events.flatMap((event) => {
    if (event.kind !== 'submit' || event.operation.kind === 'flush') return [];
    const { device, kind, offset, length, fua } = event.operation;
    return [`${device} ${kind} ${offset} ${length} ${fua} ${contentOf(event.operation)}`];
  });
  return writes.sort().join('\n');
}
