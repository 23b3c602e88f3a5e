/** `holdfast journal commit`: what waits in the journal becomes what files hold. */
import type { Outcome } from '../../src/cli/base-command.js';
import {
  FILE_EXIT_CODES,
  FileCommand,
  oneVolumeArgument,
  someFileArgument,
} from '../../src/cli/file-command.js';
import { printableLine } from '../../src/cli/printable.js';
import { counted } from '../../src/cli/sizes.js';

export default class JournalCommit extends FileCommand<typeof JournalCommit> {
  static override summary = 'Commit what is written and not committed';
  static override description = 'Of one file, or of each: every file all or nothing, whatever happens.';
  static override examples = [
    '<%= config.bin %> journal commit myvolume',
    '<%= config.bin %> journal commit myvolume disk',
  ];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: someFileArgument };

  protected async execute(): Promise<Outcome> {
    const { volume, name } = this.args;
    const { files } = await this.act([volume], 'journal commit', { name });
    return {
      result: { files },
      text: () =>
        files.length === 0
          ? 'nothing waited to be committed'
          : files
              .map((file) => `committed ${printableLine(file.name)}: ${counted(file.writtenBlocks, 'block')}`)
              .join('\n'),
    };
  }
}
