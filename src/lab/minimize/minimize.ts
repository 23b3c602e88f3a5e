/**
 * A failure of a recorded program with the fewest losses, and then the fewest events, as a trace and a failure of their own.
 *
 * In this order: at another cut of a program of which events were left out there is much wrong that no cut is to blame for, and what has to be
 * lost is a question about the program as it was.
 */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { StatePoint } from '../../crash/explorer-failure.js';
import type { Operation, Trace } from '../../crash/trace.js';
import { readTrace, type StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { TraceWriter } from '../../crash/trace-file/trace-writer.js';
import { fileError } from '../../device/device-errors.js';
import { statOrNull } from '../../device/stat-or-null.js';
import { wholeOrNone } from '../../device/whole-or-none.js';
import { UserError } from '../../errors.js';
import { CommandSubject } from '../explore/command-subject.js';
import { initialContents } from '../explore/explore-trace.js';
import { type FailureFile, profileOf, saveFailure } from '../explore/failure-file.js';
import { Stages, type StagesOptions } from '../explore/stages.js';
import { breachUncut } from '../explore/uncut.js';
import { failingOf, failureOf } from './as-failure.js';
import { Clock } from './clock.js';
import { type Failing, FailingState } from './failing-state.js';
import { type Smallest, smallestTrace } from './smaller-trace.js';

const PAGE_BYTES = 4096;

export interface MinimizeFailureOptions extends Omit<StagesOptions, 'count' | 'devices'> {
  readonly check: string;
  /** null: the check sees states as they are. */
  readonly recover: string | null;
  readonly maxSeconds: number;
  /** Of the failure. */
  readonly path: string;
  /** Operations and marks that are left. */
  readonly onProgress: (left: number) => void;
}

export interface Minimized {
  readonly trace: string;
  readonly failure: string;
  /** What is left. */
  readonly events: Trace['events'];
  /** How many there were. */
  readonly eventsBefore: number;
  readonly devices: StoredTrace['devices'];
  /** By the numbers of what is left. */
  readonly failing: Failing;
  /** False: it did not, when the check was run once more in the end. */
  readonly failsStill: boolean;
  /** False: its recovery does something else each time, so that nothing could be left out. */
  readonly isRepeatable: boolean;
  readonly isCutShort: boolean;
}

/**
 * Into `folder`: `minimal.trace`, and its failure. Throws FILE_EXISTS where it has one already, and REFUSED where the state does not fail as
 * it says, or the check fails though no power is cut.
 */
export async function minimizeFailure(
  trace: StoredTrace,
  failure: FailureFile,
  folder: string,
  options: MinimizeFailureOptions,
): Promise<Minimized> {
  assertCanBeSmaller(failure);
  const path = join(folder, 'minimal.trace');
  if ((await statOrNull(path)) !== null)
    throw new UserError('FILE_EXISTS', `${path} is there already`, { details: { file: path } });
  const { check, recover, maxSeconds, onProgress, signal } = options;
  const stages = await Stages.make({ ...options, devices: trace.devices, count: 1 });
  const clock = new Clock(maxSeconds);
  const ofLosses = new Clock(maxSeconds / 2);
  const profile = profileOf(failure);
  const initial = initialContents(trace);
  const subjectOf = (of: Trace) => new CommandSubject({ trace: of, initial, stages, check, recover });
  try {
    const { kind } = failure;
    const whole = subjectOf(trace);
    const start = failingOf(failure, trace, options.path);
    const state = await FailingState.of(whole, start, { profile, kind, signal });
    await state.makeFewest(whole, ofLosses.isOver);
    const { point } = state.now;
    const fails = async (smaller: Smallest) => {
      const subject = subjectOf(smaller.trace);
      return state.fails(subject, { ...smaller, contents: state.contentsOf(subject, smaller.point) });
    };
    const holds = async (of: Trace) => (await breachUncut(of, subjectOf(of))) === null;
    const { isOver } = clock;
    const of = { trace, initial, profile, point, fails, holds, isOver, onProgress };
    const smallest = state.isRepeatable ? (await smallestTrace(of)).trace : trace;
    const subject = subjectOf(smallest);
    const failsStill = await state.failsStill(subject);
    const saved = await wholeOrNone(path, () => save(trace, failure, smallest, state.now, path));
    const { isRepeatable } = state;
    const before = { eventsBefore: trace.events.length, devices: trace.devices };
    return { ...saved, ...before, failsStill, isRepeatable, isCutShort: clock.wasOver || ofLosses.wasOver };
  } finally {
    await stages.remove();
  }
}

function assertCanBeSmaller({ missing }: FailureFile): void {
  if (missing !== null)
    throw new UserError('UNSUPPORTED', 'a disk was taken away after the cut: no --check has found that', {
      hint: 'Of a volume it is the built-in check that has: leave --check out.',
    });
}

async function save(
  trace: StoredTrace,
  failure: FailureFile,
  { events }: Trace,
  failing: Failing,
  path: string,
): Promise<Pick<Minimized, 'trace' | 'failure' | 'events' | 'failing'>> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileError(folder, 'made', error);
  });
  const writer = await TraceWriter.create(path, { command: trace.command });
  for (const [at, device] of trace.devices.entries()) {
    writer.device(device);
    for (const version of device.versions ?? []) writer.version(at, version);
    for (const [page, bytes] of trace.base(at)) {
      const offset = page * PAGE_BYTES;
      writer.base(at, offset, bytes.subarray(0, Math.min(PAGE_BYTES, device.size - offset)));
      await writer.ready();
    }
  }
  const numbers = new Map<number, Operation>();
  for (const event of events) {
    if (event.kind === 'submit')
      numbers.set(event.operation.number, { ...event.operation, number: numbers.size });
    writer.event(
      event.kind === 'mark' ? event : { ...event, operation: numbers.get(event.operation.number)! },
    );
  }
  await writer.close();
  const renamed = (number: number) => numbers.get(number)!.number;
  const left = { ...failing, point: renumbered(failing.point, renamed) };
  const small = readTrace(path);
  try {
    const file = await saveFailure(folder, failureOf(failure, left), { trace: small, path });
    return { trace: path, failure: file, events: small.events, failing: left };
  } finally {
    small.close();
  }
}

function renumbered(
  { cut, kept, dropped, torn }: StatePoint,
  renamed: (number: number) => number,
): StatePoint {
  return {
    ...{ cut, kept: kept.map(renamed), dropped: dropped.map(renamed) },
    torn: torn.map(({ operation, tear }) => ({ operation: renamed(operation), tear })),
  };
}
