/** `holdfast recover`: makes a volume that was not closed right again, and nothing else. */
import type { Outcome } from '../src/cli/base-command.js';
import { forceFlag, volumesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { secondsSince, VolumeCommand } from '../src/cli/volume-command.js';
import type { FilesRecovery, Recovery } from '../src/volume/index.js';

export default class Recover extends VolumeCommand<typeof Recover> {
  static override summary = 'Make a volume right that was not closed';
  static override description =
    'Replays what logs hold, makes parity anew where it may be wrong, completes what was committed to files, and goes on with rebuilds that were interrupted, as the records on disk say. Every command that writes makes parity right too, before it writes.';
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
    const { finishRebuilds, recoverFiles } = await import('../src/volume/index.js');
    const { recovery, files, rebuilt } = await this.withVolume(
      this.args.volume,
      { access: 'write', force },
      async (volume) => ({
        recovery: volume.recovery,
        // Before a long rebuild: what was committed is whole as soon as it can be.
        files: await recoverFiles(volume, (message) => void this.warn(message)),
        rebuilt: await this.sweeping('rebuild', (sweep) => finishRebuilds(volume, sweep)),
      }),
    );
    if (recovery !== null && recovery.skippedBytes > 0) {
      this.warn(
        `parity of ${formatSize(recovery.skippedBytes)} of each member could not be made: a member has bad blocks there. It is noted as bad: what cannot be read is not made up`,
      );
    }
    const seconds = secondsSince(started);
    const redone = files ?? { redoneTransactions: 0 };
    return {
      result: { ...NOTHING, ...recovery, ...redone, rebuilt, seconds },
      text: () => describe(recovery, files, rebuilt, seconds),
    };
  }
}

const NOTHING: Recovery = {
  resyncedStripes: 0,
  resyncedBytes: 0,
  correctedStripes: 0,
  skippedBytes: 0,
  replayedEntries: 0,
  isInDoubt: false,
};

function describe(
  recovery: Recovery | null,
  files: FilesRecovery | null,
  rebuilt: readonly { slot: number; image: string; rebuiltBytes: number }[],
  seconds: number,
): string {
  const lines = rebuilt.map(
    ({ slot, image, rebuiltBytes }) =>
      `slot ${slot}: ${image} is rebuilt (the last ${formatSize(rebuiltBytes)} of it)`,
  );
  if (files !== null && files.redoneTransactions > 0) lines.unshift(describeFiles(files));
  if (recovery !== null) lines.unshift(describeParity(recovery));
  return lines.length === 0
    ? 'nothing had to be recovered'
    : `${lines.join('\n')}\nrecovered in ${seconds} s`;
}

function describeFiles({ redoneTransactions, copiedBlocks }: FilesRecovery): string {
  return `${redoneTransactions} transactions that were committed are complete (${copiedBlocks} blocks copied)`;
}

function describeParity(recovery: Recovery): string {
  const { resyncedStripes, resyncedBytes, correctedStripes, replayedEntries, isInDoubt } = recovery;
  const replayed = `${replayedEntries} log entries replayed`;
  if (isInDoubt)
    return `started with what there is, ${replayed}: what is in doubt stays so (holdfast status)`;
  return `parity of ${resyncedStripes} stripes (${formatSize(resyncedBytes)}) checked, ${correctedStripes} corrected, ${replayed}`;
}
