/** `holdfast crash inject`: runs another command, and takes its power away. */
import { randomInt } from 'node:crypto';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { painterFor } from '../../src/cli/colour.js';
import { COMMON_EXIT_CODES, EXIT } from '../../src/cli/exit-codes.js';
import { countFlag } from '../../src/cli/flags.js';
import { commandLine, nestedCommand } from '../../src/cli/nested-command.js';
import { printText } from '../../src/cli/output.js';
import type { CutPoint, CutReport, Injected } from '../../src/crash/inject.js';
import { DEFAULT_PROFILE, PROFILE_NAMES, PROFILES } from '../../src/crash/profiles.js';
import { UserError } from '../../src/errors.js';

const MAX_SEED = 2 ** 32 - 1;

const profileList = PROFILE_NAMES.map((name) => `${name}: ${PROFILES[name].description}`).join('; ');

export default class CrashInject extends HoldfastCommand<typeof CrashInject> {
  static override summary = 'Run a command and cut the power';
  static override description =
    `Runs a holdfast command, cuts the power at one of its writes, one of its flushes, or an event that the seed chooses, and leaves the images as the cut leaves them: what was flushed is there, of the rest whatever the seed and the profile say. Then "status" tells what is left, and "recover" repairs it.

Writes and flushes are counted from 1 over all images that the command opens, in the order in which it asks for them; zeroes and trims are writes. The power goes after that call was submitted and before anything of it is done. Without --at-write and --at-flush the command runs to its end and the images are taken back to an event of it; its output is not printed. What is recorded for that is kept in memory, up to 256 MiB: a longer command is cut at an event of those so far, and an event asked for that lies behind is not reached.

Only images lose what was written. Other files that the command makes (a volume's manifest, --output) stay as they are, and so do images that it made: those are at their full size and durable before anything is written to them.

Profiles: ${profileList}.`;
  static override examples = [
    '<%= config.bin %> crash inject -- write myvolume --input disk.img',
    '<%= config.bin %> crash inject --at-write 5 --profile garbage-torn -- write myvolume --input disk.img',
    '<%= config.bin %> crash inject --seed 7 -- member replace myvolume --slot 1 --image new.img',
  ];
  static override usage =
    'crash inject [--at-write N | --at-flush N] [--seed S] [--profile NAME] [--json] -- COMMAND...';
  static override args = {
    command: Args.string({
      required: true,
      multiple: true,
      ignoreStdin: true,
      description: 'the command, without "holdfast", behind --',
    }),
  };
  static override flags = {
    'at-write': countFlag({
      min: 1,
      exclusive: ['at-flush'],
      description: 'cut when the Nth write was submitted, before any of it is done',
    }),
    'at-flush': countFlag({
      min: 1,
      description: 'cut when the Nth flush was submitted, before it has made anything durable',
    }),
    seed: countFlag({
      max: MAX_SEED,
      helpValue: 'S',
      description: 'chooses what is lost and, where no event is named, the event [default: a new one, told]',
    }),
    profile: Flags.option({
      options: PROFILE_NAMES,
      default: DEFAULT_PROFILE,
      helpValue: 'NAME',
      description: 'how a device loses what was not flushed',
    })(),
  };
  static override exitCodes = {
    ...COMMON_EXIT_CODES,
    '0': 'never: it ends with 75 or has failed',
    '1': 'failed, or the event never came',
    '75': 'the power was cut',
    other: "the command's own, if it failed before the cut",
  };

  protected async execute(): Promise<Outcome> {
    const { injectPowerCut } = await import('../../src/crash/inject.js');
    const { profile, seed = randomInt(MAX_SEED + 1) } = this.flags;
    const inner = await nestedCommand(this.args.command, this.config, ['crash:inject', 'crash:record']);
    const injected = await injectPowerCut(() => this.runWithin(inner), {
      point: this.#point(),
      seed,
      profile,
    });
    if (injected.outcome === 'ended') return this.#notCut(injected);
    return this.#cut(injected.report, seed);
  }

  #point(): CutPoint {
    const { 'at-write': atWrite, 'at-flush': atFlush } = this.flags;
    if (atWrite !== undefined) return { at: 'write', number: atWrite };
    return atFlush === undefined ? { at: 'random' } : { at: 'flush', number: atFlush };
  }

  #cut(report: CutReport, seed: number): Outcome {
    const { profile } = this.flags;
    const repeat = this.#repeat(seed);
    const { cutAtEvent, writes, flushes, volatileWrites, keptWrites, kind, images } = report;
    return {
      exitCode: EXIT.powerCut,
      result: {
        cutAtEvent,
        writes,
        flushes,
        seed,
        profile,
        volatileWrites,
        keptWrites,
        kind,
        images,
        repeat,
      },
      text: () =>
        [
          `the power was cut after event ${cutAtEvent}; submitted by then: writes ${writes}, flushes ${flushes}`,
          `seed ${seed}, profile ${profile}; volatile writes: ${volatileWrites}, kept of them: ${keptWrites} (${KINDS[kind]})`,
          ...images.map((each) => `  ${each.image}: ${each.keptWrites} of ${each.volatileWrites}`),
          `to have it again, with the images as they were before: ${repeat}`,
        ].join('\n'),
    };
  }

  #repeat(seed: number): string {
    const { 'at-write': atWrite, 'at-flush': atFlush, profile } = this.flags;
    const point = [
      ...(atWrite === undefined ? [] : ['--at-write', String(atWrite)]),
      ...(atFlush === undefined ? [] : ['--at-flush', String(atFlush)]),
    ];
    const { bin } = this.config;
    const words = [...point, '--seed', String(seed), '--profile', profile, '--', ...this.args.command];
    return commandLine([bin, 'crash', 'inject', ...words]);
  }

  /** The command did all that it was to do: it says so itself, and then that nothing was cut. */
  async #notCut(ended: Extract<Injected<Outcome>, { outcome: 'ended' }>): Promise<never> {
    const { value, writes, flushes, overLimit } = ended;
    if (!this.flags.json) {
      const text = await value.text?.(await painterFor(process.stdout));
      if (text) await printText(text);
    }
    const { 'at-write': atWrite, 'at-flush': atFlush } = this.flags;
    const wanted = atWrite ?? atFlush;
    const kind = atWrite === undefined ? 'flush' : 'write';
    const counts = `the command ran to its end (writes ${writes}, flushes ${flushes})`;
    const why =
      wanted === undefined
        ? 'it wrote nothing'
        : overLimit
          ? `${kind} ${wanted} comes behind more than can be recorded`
          : `there was no ${kind} ${wanted}`;
    throw new UserError('OUT_OF_RANGE', `the power was not cut: ${counts}, and ${why}`, {
      details: { writes, flushes, result: value.result },
    });
  }
}

const KINDS: Readonly<Record<CutReport['kind'], string>> = {
  none: 'none of them',
  all: 'all of them',
  prefix: 'the first ones submitted',
  writes: 'some of them',
  torn: 'some of them, and one is torn',
  sectors: 'a mixture of their sectors',
};
