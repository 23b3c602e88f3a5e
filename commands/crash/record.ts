/** `holdfast crash record`: runs a command on a disk, and keeps what it asks of it in a trace. */
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { COMMON_EXIT_CODES } from '../../src/cli/exit-codes.js';
import { sizeFlag } from '../../src/cli/flags.js';
import { shareStreams, wantsJson } from '../../src/cli/output.js';
import { placeVariables, runChild } from '../../src/cli/run-child.js';
import { counted, formatSize } from '../../src/cli/sizes.js';
import { systemCode } from '../../src/device/device-errors.js';
import { UserError } from '../../src/errors.js';
import type { RecordedPlaces, RecordReport } from '../../src/lab/record/record.js';
import type { TraceSink } from '../../src/lab/record/trace-sink.js';
import { unixUri } from '../../src/volume/serve-places.js';

const MARK_DESCRIPTOR = 3;

export default class CrashRecord extends HoldfastCommand<typeof CrashRecord> {
  static override summary = 'Run a command on a disk, and record what it writes';
  static override description =
    `Serves DISK over NBD, runs COMMAND, and keeps every write, flush, trim, zeroing and mark in a trace, with what the disk held before. "crash explore" takes the power away at any event of it.

DISK is an image file, an NBD URI (then what another server has is recorded on its way there), or a volume: of that each image that it opens for writing is recorded, and the volume's disk is served. An image that is not there is made with --size.

COMMAND finds the disk by $uri ($exportname, $unixsocket), as with "serve --run"; with --fuse (nbdfuse, /dev/fuse) it is the file $image too: written with each write(2), flushed by fsync(2). One word is run by a shell, more are run as they are. The trace is kept whatever it ends with. Its output passes through; with --json what it writes to standard output goes to standard error.

Marks tell the exploring what has happened: "committed 17". Each line that is written to descriptor 3 ($HOLDFAST_MARK_FD) is one. Each line that is sent to the unix socket $HOLDFAST_MARKS is one too, and answered with "ok" when it is in the trace. A mark comes behind all that the disk had answered when its line was written.

What COMMAND has not flushed when it ends is volatile in the trace. The closing of a volume belongs to it.`;
  static override examples = [
    '<%= config.bin %> crash record disk.img --size 64MiB --trace t.trace -- \'nbdcopy --flush data.img "$uri"\'',
    '<%= config.bin %> crash record disk.img --trace t.trace -- sh -c \'./test "$uri"; echo done >&3\'',
    '<%= config.bin %> crash record nbd://localhost/disk --trace t.trace -- ./workload.py',
    '<%= config.bin %> crash record disk.img --fuse --trace t.trace -- \'dd if=data.img of="$image" conv=notrunc,fsync\'',
  ];
  static override usage = 'crash record DISK --trace FILE [--size SIZE] [--fuse] [--json] -- COMMAND...';
  static override exitCodes = {
    ...COMMON_EXIT_CODES,
    '0': 'the command ended with 0, and the trace is whole',
    '1': 'failed, or the trace could not be written to its end',
    other: 'what the command ended with',
  };
  static override args = {
    disk: Args.string({
      required: true,
      ignoreStdin: true,
      description: 'an image file, an NBD URI, or the directory of a volume',
    }),
    command: Args.string({
      required: true,
      multiple: true,
      ignoreStdin: true,
      description: 'what runs on the disk, behind --',
    }),
  };
  static override flags = {
    trace: Flags.string({
      required: true,
      helpValue: 'FILE',
      description: 'where the trace goes; it must not be there',
    }),
    size: sizeFlag({
      min: 512,
      description: 'make the image, sparse and of this size, if it is not there',
    }),
    fuse: Flags.boolean({ description: 'the disk is a file too, $image, by nbdfuse of libnbd' }),
  };

  #hasRun = false;

  protected async execute(): Promise<Outcome> {
    const { trace, size } = this.flags;
    if (size !== undefined && size % 512 !== 0)
      throw new UserError('USAGE', `--size: ${size} bytes are no whole sectors of 512`);
    if (this.args.command.join('').trim() === '')
      throw new UserError('USAGE', 'there is no command behind --');
    // The trace is made first, and would then be there as a disk.
    if (resolve(trace) === resolve(this.args.disk))
      throw new UserError('USAGE', `--trace: ${trace} is the disk itself`);
    shareStreams();
    const { TraceWriter } = await import('../../src/crash/trace-file/trace-writer.js');
    const sink = await TraceWriter.create(trace, { command: this.args.command });
    try {
      return this.#outcome(await this.#record(sink, size));
    } catch (error) {
      // Of what has never begun nothing is left, and the same can be tried again.
      if (!this.#hasRun) await rm(trace, { force: true });
      throw error;
    }
  }

  async #record(sink: TraceSink, sizeBytes: number | undefined): Promise<RecordReport> {
    const { recordDisk } = await import('../../src/lab/record/record.js');
    const progress = await this.progress('prepare');
    try {
      return await recordDisk(this.args.disk, {
        sink,
        sizeBytes,
        asFile: this.flags.fuse,
        signal: this.signal,
        // From then on standard error is the command's.
        onProgress: (done, total) => {
          if (!this.#hasRun) progress.update(done, total);
        },
        warn: (message) => void this.warn(message),
        onFault: (error) => this.warnOfFault(error),
        run: (places) => {
          progress.finish();
          return this.#run(places);
        },
      });
    } finally {
      progress.finish();
    }
  }

  async #run(places: RecordedPlaces): Promise<number> {
    const { exportName, socket, file, marksSocket, marksDescriptor } = places;
    const { command } = this.args;
    const [program = '', ...others] = command;
    const env = {
      ...placeVariables({ uri: unixUri(socket, exportName, false), exportName, socket }),
      ...(file === null ? {} : { image: file }),
      HOLDFAST_MARKS: marksSocket,
      HOLDFAST_MARK_FD: String(MARK_DESCRIPTOR),
    };
    this.#hasRun = true;
    try {
      return await runChild(others.length === 0 ? program : command, {
        env,
        signal: this.signal,
        isQuiet: wantsJson(this.argv),
        third: marksDescriptor,
      });
    } catch (cause) {
      this.#hasRun = false;
      throw notStarted(program, cause);
    }
  }

  #outcome(report: RecordReport): Outcome {
    const { trace } = this.flags;
    const { devices, exitCode, events, writes, zeroes, trims, flushes, marks, traceBytes } = report;
    return {
      exitCode,
      result: { trace, ...report },
      text: () =>
        [
          `${trace}: ${counted(events, 'event')} on ${counted(devices.length, 'device')}, ${formatSize(traceBytes)}`,
          `writes ${writes}, zeroes ${zeroes}, trims ${trims}, flushes ${flushes}, marks ${marks}`,
          ...devices.map(({ name, sizeBytes }) => `  ${name}: ${formatSize(sizeBytes)}`),
          ...(exitCode === 0 ? [] : [`the command ended with ${exitCode}`]),
        ].join('\n'),
    };
  }
}

function notStarted(program: string, cause: unknown): unknown {
  const system = systemCode(cause);
  if (system === undefined) return cause;
  const isThere = system !== 'ENOENT';
  return new UserError(
    isThere ? 'PERMISSION_DENIED' : 'FILE_NOT_FOUND',
    `${program}: cannot be started: ${isThere ? textOf(cause) : 'no such program'}`,
    { hint: 'One word behind -- is run by a shell, more are a program and its arguments.', cause },
  );
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
