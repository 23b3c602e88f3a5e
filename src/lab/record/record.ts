/**
 * Records what a command does to a disk: the disk is served, the command runs on it, and all that it asks for is in the
 * trace when it has ended.
 *
 * Order of the end: marks that were written before it; requests in flight; a volume is closed; the trace is closed; then
 * what is no more of it. The command's own end is waited for in any case, also when the recording has failed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileError } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import { closeInOrder } from '../../volume/stack.js';
import { type DiskOptions, openDisk, type RecordedDisk } from './disk.js';
import { Marks } from './marks.js';
import { type RecordedCounts, Recording } from './recording.js';
import type { TraceSink } from './trace-sink.js';

/** Where the command finds the disk, and how it marks the recording. */
export interface RecordedPlaces {
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
    return runOn(disk, recording, options, directory);
  });
  if (recording.failure !== null) throw endedEarly(recording.failure.error, report);
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
  { run, warn }: RecordOptions,
  directory: string,
): Promise<Pick<RecordReport, 'refusedMarks' | 'exitCode'>> {
  const marks = await Marks.open(recording, directory);
  try {
    const socket = join(directory, 'socket');
    await disk.server.listenUnix(socket);
    const exitCode = await run({
      exportName: disk.exportName,
      socket,
      marksSocket: marks.socket,
      marksDescriptor: marks.descriptor,
    });
    await marks.drain();
    const { refused } = marks;
    if (refused > 0)
      warn(`lines on the descriptor for marks that are none, and are not in the trace: ${refused}`);
    return { refusedMarks: refused, exitCode };
  } finally {
    await marks.close();
  }
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
