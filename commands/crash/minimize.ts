/** `holdfast crash minimize`: a failure of a recorded program with the fewest events. */
import { tmpdir } from 'node:os';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { countFlag } from '../../src/cli/flags.js';
import type { TraceEvent } from '../../src/crash/trace.js';
import type { Minimized } from '../../src/lab/minimize/minimize.js';

export default class CrashMinimize extends HoldfastCommand<typeof CrashMinimize> {
  static override summary = 'Make a failure as small as it can be';
  static override description =
    'Leaves out operations and marks of a trace, as if the program had never asked for them, as long as the failing state fails as before, and the check holds where no power is cut. A flush goes only where no write needs it. What is left is a trace of its own, with its failure: for crash explore, replay and report as any other.';
  static override examples = [
    `<%= config.bin %> crash minimize disk.trace --failure found/check-exit-3.json --check ./check.sh --output small`,
  ];
  static override args = {
    trace: Args.string({ required: true, ignoreStdin: true, description: 'the trace' }),
  };
  static override flags = {
    failure: Flags.string({ required: true, helpValue: 'FILE', description: 'of crash explore --failures' }),
    check: Flags.string({ required: true, helpValue: 'COMMAND', description: 'the one that has found it' }),
    recover: Flags.string({
      helpValue: 'COMMAND',
      description: 'the one that ran before it, if there was one',
    }),
    output: Flags.string({
      required: true,
      helpValue: 'DIR',
      description: 'gets minimal.trace, and the failure',
    }),
    'max-seconds': countFlag({
      min: 1,
      default: 600,
      helpValue: 'N',
      description: 'what is left by then is the outcome',
    }),
    'check-seconds': countFlag({
      min: 1,
      max: 86_400,
      default: 30,
      helpValue: 'N',
      description: 'as in explore',
    }),
    directory: Flags.string({
      helpValue: 'DIR',
      description: 'where the states are put while they are checked [default: the temporary directory]',
    }),
  };

  protected async execute(): Promise<Outcome> {
    const { readTrace } = await import('../../src/crash/trace-file/trace-reader.js');
    const { readFailure } = await import('../../src/lab/explore/failure-file.js');
    const { minimizeFailure } = await import('../../src/lab/minimize/minimize.js');
    const { flags } = this;
    const trace = readTrace(this.args.trace);
    try {
      const failure = await readFailure(flags.failure, trace);
      const minimized = await minimizeFailure(trace, failure, flags.output, {
        ...{ check: flags.check, recover: flags.recover ?? null },
        ...{ maxSeconds: flags['max-seconds'], limitMs: flags['check-seconds'] * 1000 },
        ...{ directory: flags.directory ?? tmpdir(), signal: this.signal },
        onFault: (error) => this.warnOfFault(error),
        onProgress: () => undefined,
      });
      const { events, devices, ...result } = minimized;
      if (minimized.isCutShort) this.warn('the time was over: it may be smaller still');
      return { result: { ...result, events: events.length }, text: () => textOf(minimized) };
    } finally {
      trace.close();
    }
  }
}

function textOf({ events, cut, devices, eventsBefore, trace, failure }: Minimized): string {
  const line = (event: TraceEvent): string[] => {
    if (event.kind === 'mark') return [`  mark ${event.mark.name}`];
    const { kind, offset, length, fua, device } = event.operation;
    const name = devices[device]!.name;
    if (event.kind === 'complete') return kind === 'flush' ? [`  flush of ${name} answered`] : [];
    return kind === 'flush'
      ? []
      : [`  ${kind}${fua ? ' with fua' : ''} of ${length} bytes at ${offset} of ${name}`];
  };
  return [
    `${events.length} events of ${eventsBefore}:`,
    ...events.slice(0, cut).flatMap(line),
    '  the power is cut',
    ...events.slice(cut).flatMap(line),
    trace,
    failure,
  ].join('\n');
}
