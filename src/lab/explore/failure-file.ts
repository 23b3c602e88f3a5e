/** A failure on its own, as a file: with the trace it is all that is needed to have the failing state again. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { contentsAt, type Failure, type StatePoint } from '../../crash/explorer-failure.js';
import { type CrashProfile, PROFILE_NAMES, PROFILES, type ProfileName } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import type { Trace } from '../../crash/trace.js';
import { readTrace, type StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { TraceWriter } from '../../crash/trace-file/trace-writer.js';
import { fileError, systemCode } from '../../device/device-errors.js';
import { statOrNull } from '../../device/stat-or-null.js';
import { wholeOrNone } from '../../device/whole-or-none.js';
import { UserError } from '../../errors.js';
import { readCheckedJson } from '../../volume/checked-json.js';
import { initialContents } from './explore-trace.js';

const count = z.number().int().nonnegative();

const pointSchema = z.object({
  cut: count,
  kept: z.array(count),
  dropped: z.array(count),
  torn: z.array(z.object({ operation: count, tear: z.array(z.number().int().min(0).max(2)) })),
});

const schema = z.object({
  formatVersion: z.literal(1),
  /** By which it can be told that the trace is another. */
  trace: z.object({ file: z.string(), createdMs: count, events: count }),
  seed: count,
  profile: z.enum(PROFILE_NAMES as [string, ...string[]]),
  kind: z.string(),
  message: z.string(),
  output: z.string(),
  /** Names of those that were set before the cut. */
  marks: z.array(z.string()),
  point: pointSchema,
  /** The number of the device that was taken away after the cut. */
  missing: count.nullable(),
  /** null: the cut is one of the trace. Else of the recovery of this point, which is a trace of its own, beside. */
  recovered: z.object({ point: pointSchema, trace: z.string() }).nullable(),
});

export type FailureFile = z.infer<typeof schema>;

interface OfTrace {
  readonly trace: StoredTrace;
  readonly path: string;
}

/** Into the folder, which is made: the path of the failure. What is there is never overwritten, and the same failure not kept twice. */
export async function saveFailure(folder: string, failure: Failure, of: OfTrace): Promise<string> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileError(folder, 'made', error);
  });
  const kind = failure.invariant.replaceAll(/[^a-z0-9]+/gi, '-');
  for (let number = 1; ; number++) {
    const name = number === 1 ? kind : `${kind}.${number}`;
    const file = join(folder, `${name}.json`);
    const text = `${JSON.stringify(contentOf(failure, name, of), null, 1)}\n`;
    const before = await textAt(file);
    if (before === text) return file;
    if (before === null) {
      await wholeOrNone(file, () => write(file, text, failure, of.trace));
      return file;
    }
  }
}

function contentOf(failure: Failure, name: string, { trace, path }: OfTrace): FailureFile {
  const { recovered } = failure;
  const cut = recovered?.point.cut ?? failure.point.cut;
  return {
    ...{ formatVersion: 1, seed: failure.seed, profile: failure.profile, kind: failure.invariant },
    trace: { file: basename(path), createdMs: trace.createdMs, events: trace.events.length },
    ...{ message: failure.message, output: failure.output ?? '' },
    marks: trace.events.slice(0, cut).flatMap((event) => (event.kind === 'mark' ? [event.mark.name] : [])),
    ...{ point: pointOut(failure.point), missing: failure.missing },
    recovered: recovered === null ? null : { point: pointOut(recovered.point), trace: recoveryNamed(name) },
  };
}

const recoveryNamed = (name: string): string => `${name}.recovery.trace`;

async function textAt(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw fileError(file, 'read', error);
  }
}

/** The recovery first: a failure that is there has all that it names. */
async function write(file: string, text: string, { recovered }: Failure, trace: StoredTrace): Promise<void> {
  if (recovered !== null) {
    const path = join(dirname(file), recoveryNamed(basename(file, '.json')));
    // One that a run has left which ended before it had the failure itself.
    await rm(path, { force: true });
    await saveTrace(path, recovered.trace, trace);
  }
  await writeFile(file, text, { flag: 'wx' }).catch((error: unknown) => {
    throw fileError(file, 'written', error);
  });
}

/** Throws FILE_NOT_FOUND, METADATA_DAMAGED, and REFUSED where it is of another trace. */
export async function readFailure(path: string, trace: StoredTrace): Promise<FailureFile> {
  if ((await statOrNull(path)) === null)
    throw new UserError('FILE_NOT_FOUND', `${path}: there is no such failure`, { details: { file: path } });
  const failure = await readCheckedJson(path, schema, {
    what: 'a failure',
    hint: 'holdfast crash explore --failures makes them.',
  });
  const { createdMs, events } = failure.trace;
  if (createdMs !== trace.createdMs || events !== trace.events.length)
    throw new UserError('REFUSED', `${path}: it is of another trace, ${failure.trace.file}`, {
      details: { file: path },
    });
  return failure;
}

/** What the devices hold in the failing state; `path`: of the failure. */
export function contentsOf(failure: FailureFile, trace: StoredTrace, path: string): StateContent[] {
  const profile = profileOf(failure);
  const recovered = recoveryOf(failure, trace, path);
  const first = contentsAt(trace, initialContents(trace), profile, recovered?.point ?? pointOf(failure));
  return recovered === null ? first : contentsAt(recovered.trace, first, profile, pointOf(failure));
}

/** Where the power was cut amid a recovery: that, and the point that was recovered. What it has made of replaced files is known to `trace` then. */
export function recoveryOf(
  { recovered }: FailureFile,
  { devices: known }: StoredTrace,
  path: string,
): { readonly trace: Trace; readonly point: StatePoint } | null {
  if (recovered === null) return null;
  const recovery = readTrace(join(dirname(path), recovered.trace));
  try {
    const { devices, events } = recovery;
    for (const [at, { versions }] of known.entries())
      versions?.push(...(devices[at]?.versions?.slice(versions.length) ?? []));
    return { trace: { devices, events }, point: pointIn(recovered.point) };
  } finally {
    recovery.close();
  }
}

export function profileOf({ profile }: FailureFile): CrashProfile {
  return PROFILES[profile as ProfileName];
}

/** Where its cut was, and what was kept. */
export function pointOf({ point }: FailureFile): StatePoint {
  return pointIn(point);
}

async function saveTrace(path: string, trace: Trace, { devices }: StoredTrace): Promise<void> {
  await wholeOrNone(path, async () => {
    const writer = await TraceWriter.create(path, { command: [] });
    for (const [at, device] of devices.entries()) {
      writer.device(device);
      for (const version of device.versions ?? []) writer.version(at, version);
    }
    for (const event of trace.events) writer.event(event);
    await writer.close();
  });
}

function pointOut({ cut, kept, dropped, torn }: StatePoint): FailureFile['point'] {
  return {
    ...{ cut, kept: [...kept], dropped: [...dropped] },
    torn: torn.map(({ operation, tear }) => ({ operation, tear: [...tear] })),
  };
}

function pointIn({ torn, ...point }: FailureFile['point']): StatePoint {
  return {
    ...point,
    torn: torn.map(({ operation, tear }) => ({ operation, tear: Uint8Array.from(tear) })),
  };
}
