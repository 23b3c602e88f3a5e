/** `holdfast file snapshot`: what a file holds now, under another name, for ever. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import {
  FILE_EXIT_CODES,
  FileCommand,
  fileNameArgument,
  oneVolumeArgument,
} from '../../src/cli/file-command.js';
import { printableLine } from '../../src/cli/printable.js';
import { formatSize } from '../../src/cli/sizes.js';

export default class FileSnapshot extends FileCommand<typeof FileSnapshot> {
  static override summary = 'Keep what a file holds, as of its last commit';
  static override description =
    'One metadata write, however large the file is: the extents are shared, and what is written to the file later goes to others. A snapshot is read, exported and served as any file, and cannot be written.';
  static override examples = ['<%= config.bin %> file snapshot myvolume disk --as disk-monday'];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: fileNameArgument() };
  static override flags = {
    as: Flags.string({ helpValue: 'NEW', required: true, description: 'name of the snapshot' }),
  };

  protected async execute(): Promise<Outcome> {
    const { volume, name } = this.args;
    const { as } = this.flags;
    const made = await this.act([volume], 'file snapshot', { name, as });
    return {
      result: made,
      text: () =>
        `${printableLine(as)} is ${printableLine(name)} as it is now (${formatSize(made.sizeBytes)})`,
    };
  }
}
