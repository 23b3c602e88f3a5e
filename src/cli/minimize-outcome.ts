/** What `crash minimize` answers, for scripts and for people. */
import type { RoleOf } from '../crash/coverage.js';
import type { Operation, Trace, TraceEvent } from '../crash/trace.js';
import type { Failing } from '../lab/minimize/failing-state.js';
import { type ToldCut, tellCut } from '../lab/minimize/losses-told.js';
import type { Minimized } from '../lab/minimize/minimize.js';
import type { FewestLosses } from '../lab/minimize/minimize-volume.js';
import type { Outcome } from './base-command.js';

/** Of a program: the events that are left are told, amid them the cut. */
export function eventsOutcome(minimized: Minimized, roleOf: RoleOf | undefined): Outcome {
  const { failing, events, devices, eventsBefore, trace, failure } = minimized;
  const told = cutsOf({ devices, events }, failing, roleOf);
  const { cut } = failing.point;
  const line = (event: TraceEvent): string[] => {
    if (event.kind === 'mark') return [`  mark ${event.mark.name}`];
    const { kind, offset, length, fua, device, number } = event.operation;
    const { name } = devices[device]!;
    if (event.kind === 'complete') return kind === 'flush' ? [`  flush of ${name} answered`] : [];
    if (kind === 'flush') return [];
    return [`  #${number} ${kind}${fua ? ' with fua' : ''} of ${length} bytes at ${offset} of ${name}`];
  };
  return {
    result: { trace, failure, eventsBefore, events: events.length, ...resultOf(minimized, told) },
    text: () =>
      [
        `${events.length} events of ${eventsBefore}:`,
        ...events.slice(0, cut).flatMap(line),
        '  the power is cut',
        ...events.slice(cut).flatMap(line),
        ...lossesText(told.first),
        ...amidText(told.amid),
        trace,
        failure,
      ].join('\n'),
  };
}

/** Of a volume: all events are there. */
export function lossesOutcome(fewest: FewestLosses, trace: Trace, roleOf: RoleOf | undefined): Outcome {
  const { failing, failure } = fewest;
  const { breach, missing } = failing;
  const told = cutsOf(trace, failing, roleOf);
  const without = missing === null ? [] : [`without ${trace.devices[missing]!.name}`];
  return {
    result: {
      failure,
      missing: missing === null ? null : trace.devices[missing]!.name,
      ...resultOf(fewest, told),
    },
    text: () =>
      [
        `${breach.invariant}: ${breach.message}`,
        ...cutText(told.first),
        ...lossesText(told.first),
        ...amidText(told.amid),
        ...without,
        failure,
      ].join('\n'),
  };
}

interface ToldCuts {
  readonly first: ToldCut;
  /** The cut of the recovery of what the first one has left. */
  readonly amid: ToldCut | null;
}

function cutsOf(trace: Trace, { point, amid }: Failing, roleOf: RoleOf | undefined): ToldCuts {
  const { devices } = trace;
  const second = amid && tellCut({ devices, events: amid.trace.events }, amid.point, roleOf);
  return { first: tellCut(trace, point, roleOf), amid: second };
}

function resultOf(
  { isCutShort, failsStill, isRepeatable, failing: { breach } }: Omit<FewestLosses, 'failure'>,
  { first, amid }: ToldCuts,
): object {
  const { invariant: kind, message } = breach;
  return {
    ...{ kind, message, ...cutResult(first), amidRecovery: amid && cutResult(amid) },
    ...{ isCutShort, failsStill, isRepeatable },
  };
}

function cutResult({ cut, volatile, losses, behind, before }: ToldCut): object {
  return { cut, between: [behind, before], volatile, losses: losses.map(({ text: _, ...loss }) => loss) };
}

function cutText({ cut, events, behind, before, answered }: ToldCut): string[] {
  return [
    `the power is cut before event ${cut} of ${events}`,
    ...(behind === null ? [] : [`  behind: ${behind}`]),
    ...(before === null ? [] : [`  before: ${before}`]),
    ...(answered === null ? [] : [`  the last that a client was answered by then: ${requestText(answered)}`]),
  ];
}

function requestText({ kind, offset, length, fua }: Operation): string {
  return kind === 'flush' ? kind : `${kind}${fua ? ' with fua' : ''} of ${length} bytes at ${offset}`;
}

function lossesText({ volatile, losses }: ToldCut): string[] {
  const writes = volatile === 1 ? '1 volatile write' : `${volatile} volatile writes`;
  if (losses.length === 0) return [`nothing is lost of ${writes}: it is that the power is cut there`];
  return [
    `${losses.length} lost of ${writes}:`,
    ...losses.map(({ text, role, torn }) => {
      const how = torn === null ? '' : `torn, ${torn.lost} of ${torn.pieces} pieces: `;
      return `  ${how}${text}${role === null ? '' : ` (${role})`}`;
    }),
  ];
}

function amidText(amid: ToldCut | null): string[] {
  if (amid === null) return [];
  return ['then, amid the recovery of that:', ...cutText(amid), ...lossesText(amid)];
}
