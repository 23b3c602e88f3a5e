/** `holdfast snapshot list`: the snapshots of a volume. */
import type { Outcome } from '../../src/cli/base-command.js';
import {
  renderSnapshots,
  SNAPSHOT_EXIT_CODES,
  snapshotVolumeArgument,
} from '../../src/cli/snapshot-arguments.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';

export default class SnapshotList extends VolumeCommand<typeof SnapshotList> {
  static override summary = 'List the snapshots of a volume';
  static override description =
    'As they are on disk, or as the server of the volume has them. Nothing is written.';
  static override examples = ['<%= config.bin %> snapshot list myvolume'];
  static override exitCodes = { ...SNAPSHOT_EXIT_CODES, '3': 'a snapshot is unusable' };
  static override args = { volume: snapshotVolumeArgument };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const { volumeStatus } = await import('../../src/volume/index.js');
    const { snapshots } = await volumeStatus([volume], { record: this.recordFile });
    return {
      result: { snapshots },
      text: (paint) => (snapshots.length === 0 ? 'no snapshots' : renderSnapshots(snapshots, paint)),
      exitCode: snapshots.every(({ state }) => state === 'good') ? 0 : 3,
    };
  }
}
