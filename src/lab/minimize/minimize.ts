/** A failure of a recorded program with the fewest events, as a trace and a failure of their own. */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Breach } from '../../crash/explorer-failure.js';
import { PROFILES } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { StateDevice } from '../../crash/state-device.js';
import type { Mark, Operation, Trace } from '../../crash/trace.js';
import { readTrace, type StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { TraceWriter } from '../../crash/trace-file/trace-writer.js';
import { fileError } from '../../device/device-errors.js';
import { statOrNull } from '../../device/stat-or-null.js';
import { wholeOrNone } from '../../device/whole-or-none.js';
import { UserError } from '../../errors.js';
import { breachOf } from '../explore/command-subject.js';
import { initialContents } from '../explore/explore-trace.js';
import { type FailureFile, pointOf, saveFailure } from '../explore/failure-file.js';
import { Stages, type StagesOptions } from '../explore/stages.js';
import { type Smallest, smallestTrace } from './smaller-trace.js';

const PAGE_BYTES = 4096;

export interface MinimizeFailureOptions extends Omit<StagesOptions, 'count' | 'devices'> {
  readonly check: string;
  /** null: the check sees states as they are. */
  readonly recover: string | null;
  readonly maxSeconds: number;
  /** Operations and marks that are left. */
  readonly onProgress: (left: number) => void;
}

export interface Minimized {
  readonly trace: string;
  readonly failure: string;
  /** What is left, and where of that the power is cut. */
  readonly events: Trace['events'];
  readonly cut: number;
  /** How many there were. */
  readonly eventsBefore: number;
  readonly devices: Trace['devices'];
  readonly isCutShort: boolean;
}

/**
 * Into `folder`: `minimal.trace`, and its failure. Throws FILE_EXISTS where it has one already, UNSUPPORTED where the cut was amid a recovery or
 * a device is missing, and REFUSED where the state does not fail as it says, or the check fails though no power is cut.
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
  const { check, recover, maxSeconds, onProgress } = options;
  const stages = await Stages.make({ ...options, devices: trace.devices, count: 1 });
  const until = performance.now() + maxSeconds * 1000;
  let isCutShort = false;
  const judge = (contents: readonly StateContent[], marks: readonly Mark[]): Promise<Breach | null> =>
    stages.on(async (stage) => {
      const devices = devicesOf(trace, contents);
      const unrecovered =
        recover === null ? null : breachOf('recover', await stage.recover(recover, devices));
      return unrecovered ?? breachOf('check', await stage.check(check, devices, marks));
    });
  try {
    const smallest = await smallestTrace({
      ...{ trace, initial: initialContents(trace), onProgress, kind: failure.kind },
      profile: PROFILES[failure.profile as keyof typeof PROFILES],
      point: pointOf(failure),
      kindOf: async (contents, marks) => (await judge(contents, marks))?.invariant ?? null,
      isOver: () => {
        isCutShort = performance.now() >= until;
        return isCutShort;
      },
    });
    const saved = await wholeOrNone(path, () => save(trace, failure, smallest, path));
    const { events, devices } = smallest.trace;
    return {
      ...saved,
      events,
      cut: smallest.point.cut,
      eventsBefore: trace.events.length,
      devices,
      isCutShort,
    };
  } finally {
    await stages.remove();
  }
}

function assertCanBeSmaller({ recovered, missing }: FailureFile): void {
  if (recovered !== null)
    throw new UserError('UNSUPPORTED', 'the power was cut amid a recovery: that is not made smaller');
  if (missing !== null)
    throw new UserError('UNSUPPORTED', 'a disk was taken away after the cut: that is not made smaller');
}

function devicesOf({ devices }: StoredTrace, contents: readonly StateContent[]): StateDevice[] {
  return contents.map((content, at) => new StateDevice(content, devices[at]!));
}

async function save(
  trace: StoredTrace,
  failure: FailureFile,
  { trace: { events }, point }: Smallest,
  path: string,
): Promise<{ readonly trace: string; readonly failure: string }> {
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
  const small = readTrace(path);
  try {
    const file = await saveFailure(
      folder,
      {
        ...{ invariant: failure.kind, message: failure.message, output: failure.output, text: '' },
        ...{ seed: failure.seed, profile: failure.profile as keyof typeof PROFILES, spared: [] },
        ...{ missing: null, recovered: null },
        point: {
          cut: point.cut,
          kept: point.kept.map(renamed),
          dropped: point.dropped.map(renamed),
          torn: point.torn.map(({ operation, tear }) => ({ operation: renamed(operation), tear })),
        },
      },
      { trace: small, path },
    );
    return { trace: path, failure: file };
  } finally {
    small.close();
  }
}
