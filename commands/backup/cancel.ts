/** `holdfast backup cancel`: the backup that runs is given up. */
import { backupVolumeArgument } from '../../src/cli/backup-arguments.js';
import type { Outcome } from '../../src/cli/base-command.js';
import { COMMON_EXIT_CODES } from '../../src/cli/exit-codes.js';
import { printableLine } from '../../src/cli/printable.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';
import { UserError } from '../../src/errors.js';

export default class BackupCancel extends VolumeCommand<typeof BackupCancel> {
  static override summary = 'Give up the backup of a served volume that runs';
  static override description =
    'Writes go on, and what was made of it is gone, or can be taken for no backup.';
  static override examples = ['<%= config.bin %> backup cancel myvolume'];
  static override exitCodes = { ...COMMON_EXIT_CODES, '10': 'no such volume, or no backup of it runs' };
  static override args = { volume: backupVolumeArgument };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const { cancelled } = await this.act([volume], 'backup cancel', {});
    if (cancelled === null) throw new UserError('FILE_NOT_FOUND', `no backup of ${volume} runs`);
    return { result: { cancelled }, text: () => `the backup ${printableLine(cancelled)} is cancelled` };
  }
}
