/** `holdfast recover`: makes a volume that was not closed right again, and nothing else. */
import type { Outcome } from '../src/cli/base-command.js';
import { forceFlag, volumesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { secondsSince, VolumeCommand } from '../src/cli/volume-command.js';

export default class Recover extends VolumeCommand<typeof Recover> {
  static override summary = 'Make a volume right that was not closed';
  static override description =
    'Replays what logs hold and makes parity anew where it may be wrong, as the records on disk say. Every command that writes does it too, before it writes.';
  static override examples = [
    '<%= config.bin %> recover myvolume',
    '<%= config.bin %> recover myvolume --force',
  ];
  static override args = { volume: volumesArgument };
  static override flags = {
    force: forceFlag(
      'though it is dirty and degraded: what the missing member held in dirty stripes is in doubt',
    ),
  };

  protected async execute(): Promise<Outcome> {
    const started = performance.now();
    const { force } = this.flags;
    const recovery = await this.withVolume(
      this.args.volume,
      { access: 'write', force },
      async (volume) => volume.recovery,
    );
    const {
      resyncedStripes = 0,
      resyncedBytes = 0,
      correctedStripes = 0,
      replayedEntries = 0,
    } = recovery ?? {};
    const seconds = secondsSince(started);
    return {
      result: {
        resyncedStripes,
        resyncedBytes,
        redoneTransactions: 0,
        correctedStripes,
        replayedEntries,
        seconds,
      },
      text: () =>
        recovery === null
          ? 'nothing had to be recovered'
          : `recovered: parity of ${resyncedStripes} stripes (${formatSize(resyncedBytes)}) checked, ${correctedStripes} corrected, ${replayedEntries} log entries replayed, in ${seconds} s`,
    };
  }
}
