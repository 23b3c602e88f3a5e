/** `holdfast snapshot delete`: a moment that nobody wants any more. */
import type { Outcome } from '../../src/cli/base-command.js';
import {
  SNAPSHOT_EXIT_CODES,
  snapshotNameFlag,
  snapshotVolumeArgument,
} from '../../src/cli/snapshot-arguments.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';

export default class SnapshotDelete extends VolumeCommand<typeof SnapshotDelete> {
  static override summary = 'Give a snapshot of a volume up';
  static override description =
    'The volume stays as it is. What the snapshot has kept and the one before it needs stays too, and goes with that one. A snapshot that is read, served to a client or backed up from is not deleted.';
  static override examples = ['<%= config.bin %> snapshot delete myvolume --name monday'];
  static override exitCodes = SNAPSHOT_EXIT_CODES;
  static override args = { volume: snapshotVolumeArgument };
  static override flags = { name: snapshotNameFlag };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const { name } = await this.act([volume], 'snapshot delete', { name: this.flags.name });
    return { result: { name }, text: () => `snapshot ${name} of ${volume} is gone` };
  }
}
