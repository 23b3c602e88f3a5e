/** What a cut has taken, and where it comes in the trace, for scripts and for people. */
import type { RoleOf } from '../../crash/coverage.js';
import { describeOperation, type StatePoint } from '../../crash/explorer-failure.js';
import { LOST } from '../../crash/states-kept.js';
import type { DiskRequest, Operation, OperationKind, Trace, TraceEvent } from '../../crash/trace.js';
import { lossesOf } from './fewest-losses.js';

export interface LostWrite {
  /** Its number. */
  readonly operation: number;
  readonly kind: OperationKind;
  readonly device: string;
  /** null: nothing is known but the device. */
  readonly role: string | null;
  readonly offset: number;
  readonly length: number;
  /** Where it tore: of how many pieces how many are not there. null: it is lost as a whole. */
  readonly torn: { readonly pieces: number; readonly lost: number } | null;
  readonly text: string;
}

export interface ToldCut {
  /** Before this event. */
  readonly cut: number;
  /** Of the trace. */
  readonly events: number;
  /** How many writes a cut there may lose. */
  readonly volatile: number;
  readonly losses: readonly LostWrite[];
  /** The events that the power is cut between; null: there is none. */
  readonly behind: string | null;
  readonly before: string | null;
  /** The last that a client of the volume's disks was told by then; null: nothing. */
  readonly answered: DiskRequest['request'] | null;
}

export function tellCut(trace: Trace, point: StatePoint, roleOf: RoleOf | undefined): ToldCut {
  const { cut, kept, dropped } = point;
  const operations = new Map<number, Operation>();
  for (const event of trace.events)
    if (event.kind === 'submit') operations.set(event.operation.number, event.operation);
  return {
    ...{ cut, events: trace.events.length, volatile: kept.length + dropped.length },
    losses: lossesOf(point).map(({ operation: number, tear }): LostWrite => {
      const operation = operations.get(number)!;
      const { kind, device, offset, length } = operation;
      const { name } = trace.devices[device]!;
      const torn =
        tear === null ? null : { pieces: tear.length, lost: tear.filter((piece) => piece === LOST).length };
      const text = describeOperation(operation, trace);
      const role = roleOf?.(operation) ?? null;
      return { operation: number, kind, device: name, role, offset, length, torn, text };
    }),
    behind: describeEvent(trace.events[cut - 1], trace),
    before: describeEvent(trace.events[cut], trace),
    answered: trace.requests?.findLast(({ is, at }) => is === 'answered' && at <= cut)?.request ?? null,
  };
}

function describeEvent(event: TraceEvent | undefined, trace: Trace): string | null {
  if (event === undefined) return null;
  if (event.kind === 'mark') return `the mark "${event.mark.name}"`;
  const { operation } = event;
  const { number, kind, device } = operation;
  const what =
    kind === 'flush'
      ? `#${number} flush of ${trace.devices[device]!.name}`
      : describeOperation(operation, trace);
  return `${what} is ${event.kind === 'submit' ? 'asked for' : 'answered'}`;
}
