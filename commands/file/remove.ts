/** `holdfast file remove`: a file goes, and its extents are free. */
import type { Outcome } from '../../src/cli/base-command.js';
import {
  FILE_EXIT_CODES,
  FileCommand,
  fileNameArgument,
  oneVolumeArgument,
} from '../../src/cli/file-command.js';
import { dryRunFlag, yesFlag } from '../../src/cli/flags.js';
import { printableLine } from '../../src/cli/printable.js';
import { formatSize } from '../../src/cli/sizes.js';

export default class FileRemove extends FileCommand<typeof FileRemove> {
  static override summary = 'Remove a file';
  static override description = 'Its snapshots stay. Refused while it is served as a disk.';
  static override examples = ['<%= config.bin %> file remove myvolume disk --yes'];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: fileNameArgument() };
  static override flags = { yes: yesFlag, 'dry-run': dryRunFlag };

  protected async execute(): Promise<Outcome> {
    const { yes, 'dry-run': dryRun } = this.flags;
    const { volume, name } = this.args;
    // Whom nobody asks need not be told what goes.
    if (dryRun || !yes) {
      const found = await this.act([volume], 'file remove --dry-run', { name });
      const size = formatSize(found.sizeBytes);
      if (dryRun) return { result: found, text: () => `would remove ${printableLine(name)}: ${size}` };
      await this.confirm(`Remove ${name} (${size})? What it holds is lost.`, { yes });
    }
    const removed = await this.act([volume], 'file remove', { name });
    return { result: removed, text: () => `removed ${printableLine(name)}` };
  }
}
