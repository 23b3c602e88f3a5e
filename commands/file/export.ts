/** `holdfast file export`: a whole file, as a plain image. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { standardOutput } from '../../src/cli/data-files.js';
import {
  FILE_EXIT_CODES,
  FileCommand,
  fileNameArgument,
  oneVolumeArgument,
} from '../../src/cli/file-command.js';
import { printableLine } from '../../src/cli/printable.js';
import { formatSize } from '../../src/cli/sizes.js';

export default class FileExport extends FileCommand<typeof FileExport> {
  static override summary = 'Copy a file out of the volume';
  static override description =
    'As it was last committed. What was never written is a hole in the output, where that can have holes.';
  static override examples = [
    '<%= config.bin %> file export myvolume disk --output disk.img',
    '<%= config.bin %> file export myvolume disk-monday --output - | zstd > monday.zst',
  ];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: fileNameArgument() };
  static override flags = {
    output: Flags.string({ helpValue: 'FILE|-', description: 'where to put it; - is standard output' }),
  };

  protected async execute(): Promise<Outcome> {
    const { output = standardOutput() } = this.flags;
    const { volume, name } = this.args;
    return this.withFile(volume, name, { access: 'read' }, async ({ device, volume: { located } }) => {
      const { size } = device;
      await this.deliver(device, { offset: 0, length: size }, output, located, true);
      return {
        result: { name, readBytes: size, output },
        text: () => `exported ${printableLine(name)} to ${printableLine(output)}: ${formatSize(size)}`,
      };
    });
  }
}
