/** `holdfast backup status`: the backup that runs. */
import { backupVolumeArgument } from '../../src/cli/backup-arguments.js';
import type { Outcome } from '../../src/cli/base-command.js';
import { printableLine } from '../../src/cli/printable.js';
import { formatSize } from '../../src/cli/sizes.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';
import type { RunningBackup } from '../../src/volume/index.js';

export default class BackupStatus extends VolumeCommand<typeof BackupStatus> {
  static override summary = 'Show the backup of a served volume that runs';
  static override description =
    'How far it is, how full its container is, and when both come to their end as it goes now.';
  static override examples = ['<%= config.bin %> backup status myvolume'];
  static override args = { volume: backupVolumeArgument };

  protected async execute(): Promise<Outcome> {
    const { backup } = await this.act([this.args.volume], 'backup status', {});
    return {
      result: { backup },
      text: () => (backup === null ? `no backup of ${this.args.volume} runs` : describe(backup)),
    };
  }
}

function describe({
  name,
  target,
  phase,
  doneBytes,
  totalBytes,
  secondsLeft,
  container,
}: RunningBackup): string {
  const done = totalBytes === null ? phase : `${formatSize(doneBytes)} of ${formatSize(totalBytes)}`;
  const left = secondsLeft === null ? '' : `, about ${Math.ceil(secondsLeft)} s left`;
  const lines = [`${printableLine(name)} to ${printableLine(target)}: ${done}${left}`];
  if (container !== null) {
    const { usedBytes, capacityBytes, secondsUntilFull } = container;
    const full = secondsUntilFull === null ? '' : `, full in about ${Math.ceil(secondsUntilFull)} s`;
    lines.push(`container: ${formatSize(usedBytes)} of ${formatSize(capacityBytes)}${full}`);
  }
  return lines.join('\n');
}
