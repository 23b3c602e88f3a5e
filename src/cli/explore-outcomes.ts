/** What `crash explore` answers, for scripts and for people: of a trace, of each of its flushes, and of a layer of holdfast. */
import { describeReport, type Report } from '../crash/explorer-report.js';
import type { StoredTrace } from '../crash/trace-file/trace-reader.js';
import type { ExploredTrace } from '../lab/explore/explore-trace.js';
import type { FlushOutcome } from '../lab/explore/flushes.js';
import type { ExploredWorkload } from '../lab/self/explore-layer.js';
import type { Outcome } from './base-command.js';
import { EXIT } from './exit-codes.js';

interface TraceOutcome {
  /** Its path. */
  readonly trace: string;
  readonly events: number;
  readonly damage: StoredTrace['damage'];
  readonly explored: ExploredTrace;
  /** A command has checked it. */
  readonly isByCommand: boolean;
  /** Where failures were kept, in their order. */
  readonly files: readonly string[];
}

export function traceOutcome({ explored, isByCommand, files, ...of }: TraceOutcome): Outcome {
  const { report, checkRuns, writingRuns } = explored;
  const { failures } = report;
  return {
    exitCode: exitCodeOf([report]),
    result: { ...of, ...countsOf(report), checkRuns, writingRuns, failures: failuresOf(report, files) },
    text: () =>
      [
        describeReport(report),
        ...(isByCommand ? [`the check ran ${checkRuns} times`] : []),
        ...failures.flatMap(({ output = '' }) => (output === '' ? [] : [`it said:\n${output.trimEnd()}`])),
        ...files.map(
          (file) => `to have it: holdfast crash replay ${of.trace} --failure ${file} --output IMAGE`,
        ),
      ].join('\n'),
  };
}

/** A flush that matters is no failure: it is what was asked. */
export function flushesOutcome(
  trace: string,
  damage: StoredTrace['damage'],
  flushes: readonly FlushOutcome[],
): Outcome {
  const mattering = flushes.filter(({ explored }) => explored.report.failures.length > 0).length;
  return {
    result: { trace, damage, flushes: flushes.map(flushResult), mattering },
    text: () =>
      [...flushes.map(flushText), `${mattering} of ${flushes.length} flushes shown to matter`].join('\n'),
  };
}

export function layerOutcome(layer: string, workloads: readonly ExploredWorkload[]): Outcome {
  const reports = workloads.map(({ report }) => report);
  const sum = (of: (report: Report) => number) => reports.reduce((total, report) => total + of(report), 0);
  const [states, images] = [sum((report) => report.states), sum((report) => report.images)];
  const failing = reports.filter(({ failures }) => failures.length > 0).length;
  return {
    exitCode: exitCodeOf(reports),
    result: {
      ...{ layer, states, images },
      workloads: workloads.map(({ name, report }) => ({
        ...{ name, ...countsOf(report) },
        failures: failuresOf(report, []),
      })),
    },
    text: () =>
      [
        ...workloads.map(workloadText),
        `${layer}: ${workloads.length} workloads, ${states} states, ${images} different; ${failing === 0 ? 'all is well' : `${failing} of them fail`}`,
      ].join('\n'),
  };
}

function exitCodeOf(reports: readonly Report[]): number {
  return reports.every(({ failures }) => failures.length === 0) ? EXIT.done : EXIT.lost;
}

function countsOf({ failures: _, ...counts }: Report): Omit<Report, 'failures'> {
  return counts;
}

function failuresOf({ failures }: Report, files: readonly string[]): object[] {
  return failures.map((failure, at) => ({
    ...{ kind: failure.invariant, message: failure.message, output: failure.output ?? '' },
    ...{ text: failure.text, file: files[at] ?? null },
  }));
}

function flushResult({ number, device, event, afterMark, explored: { report } }: FlushOutcome): object {
  const { failures, states, stoppedBy, isExhaustive } = report;
  const { invariant: kind = null, message = null } = failures[0] ?? {};
  return { flush: number, device, event, afterMark, kind, message, states, stoppedBy, isExhaustive };
}

function flushText({ number, device, event, afterMark, explored: { report } }: FlushOutcome): string {
  const where = `flush ${number} of ${device}, event ${event}${afterMark === null ? '' : `, after "${afterMark}"`}`;
  const [failure] = report.failures;
  if (failure !== undefined) return `${where}: matters: ${failure.invariant}: ${failure.message}`;
  const seen = report.isExhaustive ? 'all' : report.states;
  return `${where}: no state fails without it (${seen} looked at)`;
}

function workloadText({ name, report }: ExploredWorkload): string {
  const { states, images, cutRecoveries, stoppedBy, isExhaustive, failures } = report;
  const limit =
    stoppedBy === null || stoppedBy === 'failures' ? '' : `, stopped by the limit of ${stoppedBy}`;
  const end = isExhaustive ? ', exhaustive' : limit;
  const line = `${name}: ${states} states, ${images} different, ${cutRecoveries} recoveries cut${end}`;
  return [line, ...failures.map(({ text }) => text)].join('\n');
}
