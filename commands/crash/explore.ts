/** `holdfast crash explore`: what power cuts may leave of a recorded disk, checked by a command. */
import { availableParallelism, tmpdir } from 'node:os';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { CHECK_SECONDS, checkSecondsFlag } from '../../src/cli/check-seconds-flag.js';
import { COMMON_EXIT_CODES } from '../../src/cli/exit-codes.js';
import { ExploreProgress } from '../../src/cli/explore-progress.js';
import { countFlag } from '../../src/cli/flags.js';
import { roleFlag } from '../../src/cli/role-flag.js';
import type { RoleOf } from '../../src/crash/coverage.js';
import type { Report } from '../../src/crash/explorer-report.js';
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../../src/crash/profiles.js';
import type { StoredTrace } from '../../src/crash/trace-file/trace-reader.js';
import { UserError } from '../../src/errors.js';
import type { ExploredTrace } from '../../src/lab/explore/explore-trace.js';
import type { FlushOutcome } from '../../src/lab/explore/flushes.js';
import type { ExploredWorkload } from '../../src/lab/self/explore-layer.js';
import { LAYER_NAMES, type LayerName } from '../../src/lab/self/layer-names.js';
import type { ExploreVolumeOptions } from '../../src/lab/volume/explore-volume.js';

const MAX_SEED = 2 ** 32 - 1;

/** How far a run goes by default: over a trace, and over each workload of a layer, of which there are many. */
const LIMITS = { maxStates: Number.POSITIVE_INFINITY, maxImagesPerCut: 256 };
const SELF_LIMITS = { maxStates: 20_000, maxImagesPerCut: 8 };

/** How far a run goes, and where it puts what it needs. */
type ExploreLimits = Omit<ExploreVolumeOptions, 'assumesClean' | 'warn'>;

export default class CrashExplore extends HoldfastCommand<typeof CrashExplore> {
  static override summary = 'Check what power cuts may leave of a recorded disk';
  static override description =
    `Cuts the power at every event of a trace (crash record makes them), and runs a command on each different state that the cut may leave: which of the writes that were not flushed are there, and which of them tore. The command ends with 0 where all is well; each other exit code is a kind of failure of its own, and so are a signal and a command that does not end in time.

It is run by the shell, with the state as a file ($image) and as an NBD disk ($uri), and with the marks that were set before the cut, one a line, in the file $marks; the last one is $mark. Of several disks all are in $images and $uris; lists of a volume, as they are then, in $lists. A folder for files of its own is $directory, one for each worker. What it writes to the disk is of no effect on other states. With --recover another command runs before, on $uri alone, and the power is cut amid what it does too.

Without --check a trace of a volume is held to what must hold of volumes: holdfast opens each state itself, in memory, and recovers it; what clients were told is durable must be there, nothing may be there that they did not ask for, and fsck must find nothing after it. Of an array each single member is missing too, and recoveries are cut.

With --self no trace is needed: a layer of holdfast itself is recorded in the workloads that its own tests explore, and held to what it promises, in memory. All limits are for each workload.

A failing state is made as small as it can be, and told; --failures keeps it for crash replay. LIMITS are --profile, --seed, --max-states, --max-seconds, --max-images-per-cut and --max-failures.`;
  static override examples = [
    `<%= config.bin %> crash explore disk.trace --check 'e2fsck -fn "$image"'`,
    `<%= config.bin %> crash explore volume.trace --max-seconds 60`,
    `<%= config.bin %> crash explore --self raid`,
    `<%= config.bin %> crash explore disk.trace --check ./check.sh --max-seconds 600 --max-failures 5 --failures found`,
  ];
  static override usage = [
    'crash explore TRACE --check COMMAND [--recover COMMAND] [--check-seconds N] [--workers N] [--without-flush N | --each-flush] [--role NAME:OFFSET+LENGTH...] [--failures DIR] [--directory DIR] [LIMITS] [--json]',
    'crash explore TRACE [--assume-clean] [--without-flush N | --each-flush] [--failures DIR] [--directory DIR] [LIMITS] [--json]',
    'crash explore --self LAYER [LIMITS] [--json]',
  ];
  static override args = {
    trace: Args.string({ ignoreStdin: true, description: 'the trace; none with --self' }),
  };
  static override flags = {
    self: Flags.option({
      options: LAYER_NAMES,
      helpValue: 'LAYER',
      exclusive: ['check', 'failures', 'without-flush', 'each-flush', 'directory'],
      description: `explore a layer of holdfast: ${LAYER_NAMES.join(', ')}`,
    })(),
    check: Flags.string({
      helpValue: 'COMMAND',
      description: 'ends with 0 where all is well [default: of a recorded volume, what must hold of it]',
    }),
    recover: Flags.string({
      dependsOn: ['check'],
      helpValue: 'COMMAND',
      description: 'runs on each state before the check, and is cut too',
    }),
    'assume-clean': Flags.boolean({
      exclusive: ['check', 'self'],
      description:
        'of an array: as if it had no dirty-stripe record and were started all the same. What a member that is lost after the cut held shows the write hole',
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
    'max-states': countFlag({
      min: 1,
      helpValue: 'N',
      description: `look at so many states at most [default: all; with --self ${SELF_LIMITS.maxStates}]`,
    }),
    'max-seconds': countFlag({ min: 1, helpValue: 'N', description: 'begin nothing more after this time' }),
    'max-images-per-cut': countFlag({
      min: 1,
      helpValue: 'N',
      description: `different states of one cut at most, so that all cuts are come to [default: ${LIMITS.maxImagesPerCut}; with --self ${SELF_LIMITS.maxImagesPerCut}]`,
    }),
    'max-failures': countFlag({
      min: 1,
      default: 1,
      helpValue: 'N',
      description: 'go on until so many kinds of failures were found',
    }),
    'check-seconds': checkSecondsFlag,
    workers: countFlag({
      dependsOn: ['check'],
      min: 1,
      max: 256,
      helpValue: 'N',
      description: 'commands that run at once; what is found is the same [default: one a processor]',
    }),
    role: roleFlag({ exclusive: ['self'] }),
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
    const { self } = this.flags;
    const { trace: path } = this.args;
    if (self !== undefined && path !== undefined)
      throw new UserError('USAGE', 'of a trace and --self only one can be explored', {
        hint: 'Leave one of them out.',
      });
    if (self !== undefined) return this.#layer(self);
    if (path === undefined)
      throw new UserError('USAGE', 'what is to be explored is missing', {
        hint: 'Give a trace (crash record makes them), or --self LAYER.',
      });
    const { readTrace } = await import('../../src/crash/trace-file/trace-reader.js');
    const trace = readTrace(path);
    try {
      if (trace.damage !== null)
        this.warn(
          `${path}: used up to offset ${trace.damage.offsetBytes} (${trace.events.length} events): ${trace.damage.why}`,
        );
      if (this.flags['each-flush']) return await this.#eachFlush(trace, path);
      return await this.#trace(trace, path);
    } finally {
      trace.close();
    }
  }

  async #trace(trace: StoredTrace, path: string): Promise<Outcome> {
    const { traceOutcome } = await import('../../src/cli/explore-outcomes.js');
    const explored = await this.#explore(await this.#traceToExplore(trace));
    const files = await this.#keep(explored.report, trace, path);
    const { damage, events } = trace;
    const isByCommand = this.flags.check !== undefined;
    return traceOutcome({ trace: path, events: events.length, damage, explored, isByCommand, files });
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
    const roleOf = await this.#roles(trace);
    return this.#withProgress((limits) =>
      exploreTrace(trace, {
        ...limits,
        ...roleOf,
        ...{ check, recover: this.flags.recover ?? null },
        workers: this.flags.workers ?? availableParallelism(),
        limitMs: (this.flags['check-seconds'] ?? CHECK_SECONDS) * 1000,
        onFault: (error) => this.warnOfFault(error),
      }),
    );
  }

  async #exploreVolume(trace: StoredTrace): Promise<ExploredTrace> {
    const { exploreVolume } = await import('../../src/lab/volume/explore-volume.js');
    const roleOf = await this.#roles(trace);
    const report = await this.#withProgress((limits) =>
      exploreVolume(trace, {
        ...limits,
        ...roleOf,
        assumesClean: this.flags['assume-clean'],
        warn: (message) => void this.warn(message),
      }),
    );
    return { report, checkRuns: report.checks, writingRuns: 0 };
  }

  async #roles(trace: StoredTrace): Promise<{ readonly roleOf?: RoleOf }> {
    const { role: ranges = [], directory = tmpdir() } = this.flags;
    const { traceRoles } = await import('../../src/lab/volume/trace-roles.js');
    const roleOf = await traceRoles(trace, { ranges, directory });
    return roleOf === undefined ? {} : { roleOf };
  }

  async #eachFlush(trace: StoredTrace, path: string): Promise<Outcome> {
    const { eachFlush } = await import('../../src/lab/explore/flushes.js');
    const { flushesOutcome } = await import('../../src/cli/explore-outcomes.js');
    const outcomes: FlushOutcome[] = [];
    for await (const outcome of eachFlush(trace, (without) => this.#explore(without))) outcomes.push(outcome);
    return flushesOutcome(path, trace.damage, outcomes);
  }

  async #layer(layer: LayerName): Promise<Outcome> {
    const { exploreLayer } = await import('../../src/lab/self/explore-layer.js');
    const { layerOutcome } = await import('../../src/cli/explore-outcomes.js');
    const workloads: ExploredWorkload[] = [];
    await this.#withProgress(async (limits) => {
      for await (const workload of exploreLayer(layer, limits)) workloads.push(workload);
    });
    return layerOutcome(layer, workloads);
  }

  async #withProgress<R>(body: (limits: ExploreLimits) => Promise<R>): Promise<R> {
    const { flags } = this;
    const by = flags.self === undefined ? LIMITS : SELF_LIMITS;
    const progress = new ExploreProgress(flags.json);
    try {
      return await body({
        ...{ profile: flags.profile, seed: flags.seed },
        maxStates: flags['max-states'] ?? by.maxStates,
        maxSeconds: flags['max-seconds'] ?? Number.POSITIVE_INFINITY,
        maxImagesPerCut: flags['max-images-per-cut'] ?? by.maxImagesPerCut,
        maxFailures: flags['max-failures'],
        directory: flags.directory ?? tmpdir(),
        signal: this.signal,
        onProgress: (report) => progress.update(report),
      });
    } finally {
      progress.finish();
    }
  }

  async #keep(report: Report, trace: StoredTrace, path: string): Promise<string[]> {
    const { failures: folder } = this.flags;
    if (folder === undefined) return [];
    const { saveFailure } = await import('../../src/lab/explore/failure-file.js');
    const { saveSummary } = await import('../../src/lab/report/found.js');
    const files: string[] = [];
    try {
      await saveSummary(folder, report);
      for (const failure of report.failures) files.push(await saveFailure(folder, failure, { trace, path }));
    } catch (error) {
      // What was found may have taken hours: it is told all the same.
      if (report.failures.length === 0 || !(error instanceof UserError)) throw error;
      this.warn(`what was found is not kept: ${error.message}`);
    }
    return files;
  }
}
