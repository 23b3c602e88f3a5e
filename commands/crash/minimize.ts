/** `holdfast crash minimize`: a failure of a recorded program with the fewest events. */
import { tmpdir } from 'node:os';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { CHECK_SECONDS, checkSecondsFlag } from '../../src/cli/check-seconds-flag.js';
import { countFlag } from '../../src/cli/flags.js';
import { roleFlag } from '../../src/cli/role-flag.js';
import type { RoleOf } from '../../src/crash/coverage.js';
import type { StoredTrace } from '../../src/crash/trace-file/trace-reader.js';
import type { FailureFile } from '../../src/lab/explore/failure-file.js';
import type { FewestLosses } from '../../src/lab/minimize/minimize-volume.js';

export default class CrashMinimize extends HoldfastCommand<typeof CrashMinimize> {
  static override summary = 'Make a failure as small as it can be';
  static override description =
    `Each write that the cut has lost is put back, and each torn one made whole, as long as the state fails as before; then the power is cut as early as can be. What is told is which writes have to be lost, and where the power goes.

With --check operations and marks of the trace are left out then, as if the program had never asked for them, as long as the state fails as before, and the check holds where no power is cut. A flush goes only where no write needs it. What is left is a trace of its own, with its failure: for crash explore, replay and report as any other.

Without --check it is a failure that the built-in check of a volume's trace has found. There no event is left out: what was promised has to be kept. The outcome is a failure of the same trace.

Of a failure amid a recovery, each state that is tried is recovered again and cut where it was cut before, and of what the second cut has lost as little is left. That the outcome fails is looked at once more in the end.`;
  static override examples = [
    `<%= config.bin %> crash minimize disk.trace --failure found/check-exit-3.json --check ./check.sh --output small`,
    `<%= config.bin %> crash minimize volume.trace --failure found/a-sector-cannot-be-read.json --output small`,
  ];
  static override usage = [
    'crash minimize TRACE --failure FILE --output DIR --check COMMAND [--recover COMMAND] [--check-seconds N] [--role NAME:OFFSET+LENGTH...] [--max-seconds N] [--directory DIR] [--json]',
    'crash minimize TRACE --failure FILE --output DIR [--assume-clean] [--max-seconds N] [--directory DIR] [--json]',
  ];
  static override args = {
    trace: Args.string({ required: true, ignoreStdin: true, description: 'the trace' }),
  };
  static override flags = {
    failure: Flags.string({ required: true, helpValue: 'FILE', description: 'of crash explore --failures' }),
    check: Flags.string({
      helpValue: 'COMMAND',
      description: 'the one that has found it [default: of a recorded volume, what must hold of it]',
    }),
    recover: Flags.string({
      dependsOn: ['check'],
      helpValue: 'COMMAND',
      description: 'the one that ran before it, if there was one',
    }),
    'assume-clean': Flags.boolean({
      exclusive: ['check'],
      description: 'as in explore, where that has found it',
    }),
    output: Flags.string({
      required: true,
      helpValue: 'DIR',
      description: 'gets the failure, and with --check minimal.trace',
    }),
    role: roleFlag(),
    'max-seconds': countFlag({
      min: 1,
      default: 600,
      helpValue: 'N',
      description: 'what is left by then is the outcome',
    }),
    'check-seconds': checkSecondsFlag,
    directory: Flags.string({
      helpValue: 'DIR',
      description: 'where the states are put while they are checked [default: the temporary directory]',
    }),
  };

  protected async execute(): Promise<Outcome> {
    const { readTrace } = await import('../../src/crash/trace-file/trace-reader.js');
    const { readFailure } = await import('../../src/lab/explore/failure-file.js');
    const { traceRoles } = await import('../../src/lab/volume/trace-roles.js');
    const { check, role: ranges = [], directory = tmpdir() } = this.flags;
    const trace = readTrace(this.args.trace);
    try {
      const failure = await readFailure(this.flags.failure, trace);
      const roleOf = await traceRoles(trace, { ranges, directory });
      return check === undefined
        ? await this.#volume(trace, failure, roleOf)
        : await this.#program(trace, failure, { check, roleOf });
    } finally {
      trace.close();
    }
  }

  async #program(
    trace: StoredTrace,
    failure: FailureFile,
    { check, roleOf }: { readonly check: string; readonly roleOf: RoleOf | undefined },
  ): Promise<Outcome> {
    const { minimizeFailure } = await import('../../src/lab/minimize/minimize.js');
    const { eventsOutcome } = await import('../../src/cli/minimize-outcome.js');
    const { flags } = this;
    const minimized = await minimizeFailure(trace, failure, flags.output, {
      ...{ check, recover: flags.recover ?? null, path: flags.failure },
      ...{ maxSeconds: flags['max-seconds'], limitMs: (flags['check-seconds'] ?? CHECK_SECONDS) * 1000 },
      ...{ directory: flags.directory ?? tmpdir(), signal: this.signal },
      onFault: (error) => this.warnOfFault(error),
      onProgress: () => undefined,
    });
    this.#warnOf(minimized);
    return eventsOutcome(minimized, roleOf);
  }

  async #volume(trace: StoredTrace, failure: FailureFile, roleOf: RoleOf | undefined): Promise<Outcome> {
    const { minimizeVolumeFailure } = await import('../../src/lab/minimize/minimize-volume.js');
    const { lossesOutcome } = await import('../../src/cli/minimize-outcome.js');
    const { flags } = this;
    const fewest = await minimizeVolumeFailure(trace, failure, flags.output, {
      ...{ assumesClean: flags['assume-clean'], maxSeconds: flags['max-seconds'] },
      ...{ directory: flags.directory ?? tmpdir(), signal: this.signal },
      warn: (message) => this.warn(message),
      of: { trace: this.args.trace, failure: flags.failure },
    });
    this.#warnOf(fewest);
    return lossesOutcome(fewest, trace, roleOf);
  }

  #warnOf({ isCutShort, failsStill, isRepeatable }: Omit<FewestLosses, 'failure' | 'failing'>): void {
    if (isCutShort) this.warn('the time was over: it may be smaller still');
    if (!isRepeatable)
      this.warn(
        'the recovery does something else each time: of what was recovered nothing could be made smaller, only what is lost amid that',
      );
    if (!failsStill)
      this.warn(
        'looked at once more it does not fail any more: what checks or recovers it does not do the same each time',
      );
  }
}
