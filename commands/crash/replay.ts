/** `holdfast crash replay`: a state that a power cut may leave of a recorded disk, as an image. */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { countFlag } from '../../src/cli/flags.js';
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../../src/crash/profiles.js';
import type { StateContent } from '../../src/crash/state-content.js';
import type { StoredTrace } from '../../src/crash/trace-file/trace-reader.js';
import { UserError } from '../../src/errors.js';

export default class CrashReplay extends HoldfastCommand<typeof CrashReplay> {
  static override summary = 'Have a state of a recorded disk as an image';
  static override description =
    'Puts what a power cut leaves onto a new image: the state of a failure that crash explore has kept, or a cut before any event of the trace, with none, all or some of the writes that were not flushed by then. Of several disks --output is a folder of images.';
  static override examples = [
    '<%= config.bin %> crash replay disk.trace --failure found/check-exit-1.json --output failing.img',
    '<%= config.bin %> crash replay disk.trace --at-event 84 --keep 38 --output cut.img',
  ];
  static override args = {
    trace: Args.string({ required: true, ignoreStdin: true, description: 'the trace' }),
  };
  static override flags = {
    failure: Flags.string({ helpValue: 'FILE', description: 'a failure of crash explore --failures' }),
    'at-event': countFlag({
      helpValue: 'N',
      exclusive: ['failure'],
      description: 'cut before this event, counted from 0 [default: behind the last]',
    }),
    keep: Flags.string({
      helpValue: 'all|none|N,N,...',
      exclusive: ['failure'],
      default: 'none',
      noCacheDefault: true,
      description: 'of the writes that are volatile there; by the numbers of their operations',
    }),
    profile: Flags.option({
      options: PROFILE_NAMES,
      default: DEFAULT_PROFILE,
      helpValue: 'NAME',
      description: 'how a disk loses what was not flushed',
    })(),
    output: Flags.string({ required: true, helpValue: 'IMAGE', description: 'a new file' }),
  };

  protected async execute(): Promise<Outcome> {
    const { readTrace } = await import('../../src/crash/trace-file/trace-reader.js');
    const { putOnImages } = await import('../../src/lab/explore/replay.js');
    const trace = readTrace(this.args.trace);
    try {
      const images = await putOnImages(await this.#contents(trace), trace, this.flags.output);
      return { result: { images }, text: () => images.join('\n') };
    } finally {
      trace.close();
    }
  }

  async #contents(trace: StoredTrace): Promise<StateContent[]> {
    const { failure: path, profile } = this.flags;
    if (path !== undefined) {
      const { contentsOf, readFailure } = await import('../../src/lab/explore/failure-file.js');
      return contentsOf(await readFailure(path, trace), trace, path);
    }
    const { contentsAtCut } = await import('../../src/lab/explore/replay.js');
    const event = this.flags['at-event'] ?? trace.events.length;
    return contentsAtCut(trace, { event, keep: keptOf(this.flags.keep), profile });
  }
}

function keptOf(text: string): 'none' | 'all' | number[] {
  if (text === 'none' || text === 'all') return text;
  const numbers = text.split(',').map(Number);
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0) || text.includes(',,'))
    throw new UserError('USAGE', `--keep "${text}": neither all nor none, nor numbers of operations`);
  return numbers;
}
