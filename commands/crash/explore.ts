/** `holdfast crash explore`: what power cuts may leave of a recorded disk, checked by a command. */
import { availableParallelism, tmpdir } from 'node:os';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { COMMON_EXIT_CODES, EXIT } from '../../src/cli/exit-codes.js';
import { ExploreProgress } from '../../src/cli/explore-progress.js';
import { countFlag } from '../../src/cli/flags.js';
import type { Report } from '../../src/crash/explorer-report.js';
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../../src/crash/profiles.js';
import type { StoredTrace } from '../../src/crash/trace-file/trace-reader.js';
import type { ExploredTrace } from '../../src/lab/explore/explore-trace.js';
import type { FlushOutcome } from '../../src/lab/explore/flushes.js';
import type { ExploreVolumeOptions } from '../../src/lab/volume/explore-volume.js';

const MAX_SEED = 2 ** 32 - 1;

/** How far a run goes, and where it puts what it needs. */
type ExploreLimits = ExploreVolumeOptions;

export default class CrashExplore extends HoldfastCommand<typeof CrashExplore> {
  static override summary = 'Check what power cuts may leave of a recorded disk';
  static override description =
    `Cuts the power at every event of a trace (crash record makes them), and runs a command on each different state that the cut may leave: which of the writes that were not flushed are there, and which of them tore. The command ends with 0 where all is well; each other exit code is a kind of failure of its own, and so are a signal and a command that does not end in time.

It is run by the shell, with the state as a file ($image) and as an NBD disk ($uri), and with the marks that were set before the cut, one a line, in the file $marks; the last one is $mark. Of several disks all are in $images and $uris. A folder for files of its own is $directory, one for each worker. What it writes to the disk is of no effect on other states. With --recover another command runs before, on $uri alone, and the power is cut amid what it does too.

Without --check a trace of a volume is held to what must hold of volumes: holdfast opens each state itself, in memory, and recovers it; what clients were told is durable must be there, nothing may be there that they did not ask for, and fsck must find nothing after it. Of an array each single member is missing too, and recoveries are cut.

A failing state is made as small as it can be, and told; --failures keeps it for crash replay.`;
  static override examples = [
    `<%= config.bin %> crash explore disk.trace --check 'e2fsck -fn "$image"'`,
    `<%= config.bin %> crash explore volume.trace --max-seconds 60`,
    `<%= config.bin %> crash explore disk.trace --check ./check.sh --max-seconds 600 --max-failures 5 --failures found`,
  ];
  static override args = {
    trace: Args.string({ required: true, ignoreStdin: true, description: 'the trace' }),
  };
  static override flags = {
    check: Flags.string({
      helpValue: 'COMMAND',
      description: 'ends with 0 where all is well [default: of a recorded volume, what must hold of it]',
    }),
    recover: Flags.string({
      dependsOn: ['check'],
      helpValue: 'COMMAND',
      description: 'runs on each state before the check, and is cut too',
    }),
    profile: Flags.option({
      options: PROFILE_NAMES,
      default: DEFAULT_PROFILE,
      helpValue: 'NAME',
      description: 'how a disk loses what was not flushed (crash inject --help tells them)',
    })(),
    seed: countFlag({
      max: MAX_SEED,
      default: 1,
      helpValue: 'S',
      description: 'of the samples that are drawn',
    }),
    'max-states': countFlag({ min: 1, helpValue: 'N', description: 'look at so many states at most' }),
    'max-seconds': countFlag({ min: 1, helpValue: 'N', description: 'begin nothing more after this time' }),
    'max-images-per-cut': countFlag({
      min: 1,
      default: 256,
      helpValue: 'N',
      description: 'different states of one cut at most, so that all cuts are come to',
    }),
    'max-failures': countFlag({
      min: 1,
      default: 1,
      helpValue: 'N',
      description: 'go on until so many kinds of failures were found',
    }),
    'check-seconds': countFlag({
      min: 1,
      max: 86_400,
      default: 30,
      helpValue: 'N',
      description: 'a command that takes longer hangs',
    }),
    workers: countFlag({
      dependsOn: ['check'],
      min: 1,
      max: 256,
      helpValue: 'N',
      description: 'commands that run at once; what is found is the same [default: one a processor]',
    }),
    failures: Flags.string({ helpValue: 'DIR', description: 'keep each failure there, as a file' }),
    'without-flush': countFlag({
      min: 1,
      helpValue: 'N',
      exclusive: ['each-flush', 'failures'],
      description: 'as if the Nth flush, counted from 1 over all disks, had never been asked for',
    }),
    'each-flush': Flags.boolean({
      exclusive: ['failures'],
      description: 'without each flush in turn: which of them matter. All limits are for each',
    }),
    directory: Flags.string({
      helpValue: 'DIR',
      description: 'where the states are put while they are checked [default: the temporary directory]',
    }),
  };
  static override exitCodes = {
    ...COMMON_EXIT_CODES,
    '0': 'no state that was looked at fails the check',
    '4': 'a state fails the check',
  };

  protected async execute(): Promise<Outcome> {
    const { readTrace } = await import('../../src/crash/trace-file/trace-reader.js');
    const trace = readTrace(this.args.trace);
    try {
      if (trace.damage !== null)
        this.warn(
          `${this.args.trace}: used up to offset ${trace.damage.offsetBytes} (${trace.events.length} events): ${trace.damage.why}`,
        );
      if (this.flags['each-flush']) return await this.#eachFlush(trace);
      const explored = await this.#explore(await this.#traceToExplore(trace));
      const kept = await this.#keep(explored.report, trace);
      return await this.#outcome(explored, trace, kept);
    } finally {
      trace.close();
    }
  }

  async #traceToExplore(trace: StoredTrace): Promise<StoredTrace> {
    const number = this.flags['without-flush'];
    if (number === undefined) return trace;
    const { withoutFlush } = await import('../../src/lab/explore/flushes.js');
    return withoutFlush(trace, number);
  }

  async #explore(trace: StoredTrace): Promise<ExploredTrace> {
    const { check } = this.flags;
    if (check === undefined) return this.#exploreVolume(trace);
    const { exploreTrace } = await import('../../src/lab/explore/explore-trace.js');
    return this.#withProgress((limits) =>
      exploreTrace(trace, {
        ...limits,
        ...{ check, recover: this.flags.recover ?? null },
        workers: this.flags.workers ?? availableParallelism(),
        limitMs: this.flags['check-seconds'] * 1000,
        onFault: (error) => this.warnOfFault(error),
      }),
    );
  }

  async #exploreVolume(trace: StoredTrace): Promise<ExploredTrace> {
    const { exploreVolume } = await import('../../src/lab/volume/explore-volume.js');
    const report = await this.#withProgress((limits) => exploreVolume(trace, limits));
    return { report, checkRuns: report.checks, writingRuns: 0 };
  }

  async #eachFlush(trace: StoredTrace): Promise<Outcome> {
    const { eachFlush } = await import('../../src/lab/explore/flushes.js');
    const outcomes: FlushOutcome[] = [];
    for await (const outcome of eachFlush(trace, (without) => this.#explore(without))) outcomes.push(outcome);
    return {
      result: { trace: this.args.trace, damage: trace.damage, flushes: outcomes.map(flushResult) },
      text: () => outcomes.map(flushText).join('\n'),
    };
  }

  async #withProgress<R>(body: (limits: ExploreLimits) => Promise<R>): Promise<R> {
    const { flags } = this;
    const progress = new ExploreProgress(flags.json);
    try {
      return await body({
        ...{ profile: flags.profile, seed: flags.seed },
        maxStates: flags['max-states'] ?? Number.POSITIVE_INFINITY,
        maxSeconds: flags['max-seconds'] ?? Number.POSITIVE_INFINITY,
        maxImagesPerCut: flags['max-images-per-cut'],
        maxFailures: flags['max-failures'],
        directory: flags.directory ?? tmpdir(),
        signal: this.signal,
        onProgress: (report) => progress.update(report),
      });
    } finally {
      progress.finish();
    }
  }

  async #keep(report: Report, trace: StoredTrace): Promise<string[]> {
    const { failures: folder } = this.flags;
    if (folder === undefined) return [];
    const { saveFailure } = await import('../../src/lab/explore/failure-file.js');
    const { saveSummary } = await import('../../src/lab/report/found.js');
    await saveSummary(folder, report);
    const files: string[] = [];
    for (const failure of report.failures)
      files.push(await saveFailure(folder, failure, { trace, path: this.args.trace }));
    return files;
  }

  async #outcome(
    { report, checkRuns, writingRuns }: ExploredTrace,
    trace: StoredTrace,
    files: readonly string[],
  ): Promise<Outcome> {
    const { describeReport } = await import('../../src/crash/explorer-report.js');
    const { failures, ...counts } = report;
    if (writingRuns > 0)
      this.warn(`the check wrote to the disk that it was given in ${writingRuns} of ${checkRuns} runs`);
    return {
      exitCode: failures.length === 0 ? EXIT.done : EXIT.lost,
      result: {
        trace: this.args.trace,
        events: trace.events.length,
        damage: trace.damage,
        ...counts,
        ...{ checkRuns, writingRuns },
        failures: failures.map((failure, at) => ({
          ...{ kind: failure.invariant, message: failure.message, output: failure.output ?? '' },
          ...{ text: failure.text, file: files[at] ?? null },
        })),
      },
      text: () => {
        const outputs = failures.flatMap(({ output = '' }) =>
          output === '' ? [] : [`it said:\n${output.trimEnd()}`],
        );
        return [
          describeReport(report),
          ...(this.flags.check === undefined ? [] : [`the check ran ${checkRuns} times`]),
          ...outputs,
          ...files.map(
            (file) => `to have it: holdfast crash replay ${this.args.trace} --failure ${file} --output IMAGE`,
          ),
        ].join('\n');
      },
    };
  }
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
