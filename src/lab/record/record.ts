/**
 * Records what a command does to a disk: the disk is served, the command runs on it, and all that it asks for is in the
 * trace when it has ended.
 *
 * Order of the end: the disk's file is unmounted, if it has one; marks that were written before it; requests in flight; a
 * volume is closed; the trace is closed; then what is no more of it. The command's own end is waited for in any case, also
 * when the recording has failed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileError } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import { unixUri } from '../../volume/serve-places.js';
import { closeInOrder } from '../../volume/stack.js';
import { type DiskOptions, openDisk, type RecordedDisk } from './disk.js';
import { FuseFile } from './fuse-file.js';
import { Marks } from './marks.js';
import { type RecordedCounts, Recording } from './recording.js';
import type { TraceSink } from './trace-sink.js';

/** Where the command finds the disk, and how it marks the recording. */
export interface RecordedPlaces {
  /** The disk as a file; null: it was not asked for. */
  readonly file: string | null;
  readonly exportName: string;
  /** Of the disk. */
  readonly socket: string;
  readonly marksSocket: string;
  /** To write marks to. */
  readonly marksDescriptor: number;
}

export interface RecordOptions extends DiskOptions {
  readonly sink: TraceSink;
  /** Runs the command; its exit code. */
  readonly run: (places: RecordedPlaces) => Promise<number>;
}

export interface RecordReport extends RecordedCounts {
  readonly devices: Recording['devices'];
  readonly traceBytes: number;
  /** Lines that were meant as marks, and are none. */
  readonly refusedMarks: number;
  /** Of the command. */
  readonly exitCode: number;
}

/**
 * The sink is closed when this ends, however it does.
 *
 * @throws what opening the disk, `run` and closing the disk throw; what the trace could not be written for, when the command
 *   has ended, with the report as details.
 */
export async function recordDisk(name: string, options: RecordOptions): Promise<RecordReport> {
  const { sink, warn } = options;
  let hasBegun = false;
  let lostFile: string | null = null;
  const recording = new Recording(sink, (error) => {
    if (hasBegun) warn(`the recording has ended, and the command goes on without it: ${textOf(error)}`);
  });
  const disk = await openDisk(name, recording, options).catch(async (error: unknown) => {
    await recording.end();
    throw error;
  });
  const report = await within(disk, recording, async (directory) => {
    // A trace that has not what the disk held says nothing of it: then the command is not begun.
    await recording.written();
    if (recording.failure !== null) throw recording.failure.error;
    hasBegun = true;
    return runOn(disk, recording, options, directory, (why) => {
      lostFile = why;
      warn(`the disk is no file any more, and the command goes on without it: ${why}`);
    });
  });
  if (recording.failure !== null) throw endedEarly(recording.failure.error, report);
  if (lostFile !== null) throw lost(lostFile, report);
  return report;
}

/** With a directory for sockets, which goes when all is closed. */
async function within(
  disk: RecordedDisk,
  recording: Recording,
  use: (directory: string) => Promise<Pick<RecordReport, 'refusedMarks' | 'exitCode'>>,
): Promise<RecordReport> {
  let directory: string | null = null;
  let used: { readonly value: Pick<RecordReport, 'refusedMarks' | 'exitCode'> } | null = null;
  await closeInOrder([
    async () => {
      directory = await mkdtemp(join(tmpdir(), 'holdfast-')).catch((error: unknown) => {
        throw fileError(tmpdir(), 'written', error);
      });
      used = { value: await use(directory) };
    },
    () => disk.stop(),
    () => recording.end(),
    () => disk.close(),
    async () => {
      if (directory !== null) await rm(directory, { recursive: true, force: true });
    },
  ]);
  const { devices, counts, bytes } = recording;
  return { devices, ...counts, traceBytes: bytes, ...used!.value };
}

async function runOn(
  disk: RecordedDisk,
  recording: Recording,
  options: RecordOptions,
  directory: string,
  onLostFile: (why: string) => void,
): Promise<Pick<RecordReport, 'refusedMarks' | 'exitCode'>> {
  const marks = await Marks.open(recording, directory);
  try {
    const socket = join(directory, 'socket');
    await disk.server.listenUnix(socket);
    const { exportName } = disk;
    const { socket: marksSocket, descriptor: marksDescriptor } = marks;
    const places = { exportName, socket, marksSocket, marksDescriptor };
    const exitCode =
      options.asFile === true
        ? await runWithFile(places, options, directory, onLostFile)
        : await options.run({ ...places, file: null });
    await marks.drain();
    const { refused } = marks;
    if (refused > 0)
      options.warn(`lines on the descriptor for marks that are none, and are not in the trace: ${refused}`);
    return { refusedMarks: refused, exitCode };
  } finally {
    await marks.close();
  }
}

/** What was written to the file is recorded when this ends: nobody has it any more. */
async function runWithFile(
  places: Omit<RecordedPlaces, 'file'>,
  { run, signal, warn }: RecordOptions,
  directory: string,
  onLost: (why: string) => void,
): Promise<number> {
  const uri = unixUri(places.socket, places.exportName, false);
  const file = await FuseFile.mount(directory, uri, { signal, warn, onLost });
  try {
    return await run({ ...places, file: file.path });
  } finally {
    await file.unmount();
  }
}

function lost(why: string, report: RecordReport): UserError {
  return new UserError(
    'IO_ERROR',
    `${why}: what the command asked of the disk's file since then has failed; the trace is whole, and the command ended with ${report.exitCode}`,
    { hint: 'Record again, or have the command use $uri.', details: { ...report } },
  );
}

function endedEarly(error: unknown, report: RecordReport): unknown {
  if (!(error instanceof UserError)) return error;
  const { exitCode, events } = report;
  return new UserError(
    error.code,
    `${error.message}; the recording ended there, after ${events} events, and what the trace has is good; the command went on without it, and ended with ${exitCode}`,
    {
      hint: error.hint ?? 'Write the trace elsewhere, and record again.',
      details: { ...error.details, ...report },
      cause: error,
    },
  );
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
