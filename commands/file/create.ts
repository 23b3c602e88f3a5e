/** `holdfast file create`: a new file, which reads as zeroes. */
import type { Outcome } from '../../src/cli/base-command.js';
import {
  FILE_EXIT_CODES,
  FileCommand,
  fileNameArgument,
  oneVolumeArgument,
} from '../../src/cli/file-command.js';
import { sizeFlag } from '../../src/cli/flags.js';
import { printableLine } from '../../src/cli/printable.js';
import { formatSize } from '../../src/cli/sizes.js';

export default class FileCreate extends FileCommand<typeof FileCreate> {
  static override summary = 'Make a file in a volume of the format extents';
  static override description =
    'It reads as zeroes and takes no room until it is written; with --reserve room for so much is kept for it. It can be served as a disk of its own name.';
  static override examples = [
    '<%= config.bin %> file create myvolume disk --size 10GiB',
    '<%= config.bin %> file create myvolume journal --size 64MiB --reserve 128MiB',
  ];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: fileNameArgument() };
  static override flags = {
    size: sizeFlag({ default: 0, description: 'how long it is; it grows when it is written past its end' }),
    reserve: sizeFlag({ default: 0, description: 'room that only this file may take, its journal included' }),
  };

  protected async execute(): Promise<Outcome> {
    const { size, reserve } = this.flags;
    const { volume, name } = this.args;
    const made = await this.act([volume], 'file create', { name, sizeBytes: size, reserveBytes: reserve });
    return { result: made, text: () => `made ${printableLine(name)}: ${formatSize(size)}` };
  }
}
