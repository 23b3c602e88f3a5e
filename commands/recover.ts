/** `holdfast recover`: makes a volume that was not closed right again, and nothing else. */
import type { Outcome } from '../src/cli/base-command.js';
import { forceFlag, volumesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { secondsSince, VolumeCommand } from '../src/cli/volume-command.js';

export default class Recover extends VolumeCommand<typeof Recover> {
  static override summary = 'Make a volume right that was not closed';
  static override description =
    'Replays what logs hold, makes parity anew where it may be wrong, and goes on with rebuilds that were interrupted, as the records on disk say. Every command that writes makes parity right too, before it writes.';
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
    const { finishRebuilds } = await import('../src/volume/index.js');
    const { recovery, rebuilt } = await this.withVolume(
      this.args.volume,
      { access: 'write', force },
      async (volume) => ({
        recovery: volume.recovery,
        rebuilt: await this.sweeping('rebuild', (sweep) => finishRebuilds(volume, sweep)),
      }),
    );
    if (recovery !== null && recovery.skippedBytes > 0) {
      this.warn(
        `parity of ${formatSize(recovery.skippedBytes)} of each member could not be made: a member has bad blocks there. It is noted as bad: what cannot be read is not made up`,
      );
    }
    const counts = {
      resyncedStripes: 0,
      resyncedBytes: 0,
      correctedStripes: 0,
      replayedEntries: 0,
      ...recovery,
    };
    const seconds = secondsSince(started);
    return {
      result: { ...counts, redoneTransactions: 0, rebuilt, seconds },
      text: () => describe(recovery === null ? null : counts, rebuilt, seconds),
    };
  }
}

function describe(
  counts: {
    resyncedStripes: number;
    resyncedBytes: number;
    correctedStripes: number;
    replayedEntries: number;
  } | null,
  rebuilt: readonly { slot: number; image: string; rebuiltBytes: number }[],
  seconds: number,
): string {
  const lines = rebuilt.map(
    ({ slot, image, rebuiltBytes }) =>
      `slot ${slot}: ${image} is rebuilt (the last ${formatSize(rebuiltBytes)} of it)`,
  );
  if (counts !== null) {
    const { resyncedStripes, resyncedBytes, correctedStripes, replayedEntries } = counts;
    lines.unshift(
      `parity of ${resyncedStripes} stripes (${formatSize(resyncedBytes)}) checked, ${correctedStripes} corrected, ${replayedEntries} log entries replayed`,
    );
  }
  return lines.length === 0
    ? 'nothing had to be recovered'
    : `${lines.join('\n')}\nrecovered in ${seconds} s`;
}
