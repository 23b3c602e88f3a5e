/** `holdfast crash replay`: a state that a power cut may leave of a recorded disk, as an image. */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { countFlag } from '../../src/cli/flags.js';
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../../src/crash/profiles.js';
import type { StateContent } from '../../src/crash/state-content.js';
import type { StoredTrace } from '../../src/crash/trace-file/trace-reader.js';
import { UserError } from '../../src/errors.js';

interface State {
  readonly contents: StateContent[];
  /** The number of the device that was taken away. */
  readonly missing: number | null;
}

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
      const { contents, missing } = await this.#state(trace);
      const { output } = this.flags;
      const { images, missing: gone } = await putOnImages(contents, trace, { output, missing });
      const without = gone === null ? [] : [`${gone}, which was taken away after the cut`];
      return { result: { images, missing: gone }, text: () => [...images, ...without].join('\n') };
    } finally {
      trace.close();
    }
  }

  async #state(trace: StoredTrace): Promise<State> {
    const { failure: path, profile } = this.flags;
    if (path !== undefined) {
      const { contentsOf, readFailure } = await import('../../src/lab/explore/failure-file.js');
      const failure = await readFailure(path, trace);
      return { contents: contentsOf(failure, trace, path), missing: failure.missing };
    }
    const { contentsAtCut } = await import('../../src/lab/explore/replay.js');
    const event = this.flags['at-event'] ?? trace.events.length;
    return {
      contents: contentsAtCut(trace, { event, keep: keptOf(this.flags.keep), profile }),
      missing: null,
    };
  }
}

function keptOf(text: string): 'none' | 'all' | number[] {
  if (text === 'none' || text === 'all') return text;
  const numbers = text.split(',').map(Number);
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0) || text.includes(',,'))
    throw new UserError('USAGE', `--keep "${text}": neither all nor none, nor numbers of operations`);
  return numbers;
}
