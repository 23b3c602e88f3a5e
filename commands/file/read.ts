/** `holdfast file read`: a range of a file's bytes, to a file or to standard output. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { standardOutput } from '../../src/cli/data-files.js';
import {
  FILE_EXIT_CODES,
  FileCommand,
  fileNameArgument,
  oneVolumeArgument,
} from '../../src/cli/file-command.js';
import { sizeFlag } from '../../src/cli/flags.js';
import { formatSize } from '../../src/cli/sizes.js';

export default class FileRead extends FileCommand<typeof FileRead> {
  static override summary = "Read a file's bytes";
  static override description =
    'As they were last committed; with --uncommitted, with what is written and not committed yet. Writes nothing to the volume. Data goes to standard output where that is no terminal.';
  static override examples = [
    '<%= config.bin %> file read myvolume disk --output disk.img',
    '<%= config.bin %> file read myvolume disk --offset 1MiB --length 4KiB --output - | xxd',
  ];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: fileNameArgument() };
  static override flags = {
    offset: sizeFlag({ default: 0, description: 'where to begin' }),
    length: sizeFlag({ description: 'how much to read [default: to the end]' }),
    output: Flags.string({ helpValue: 'FILE|-', description: 'where to put it; - is standard output' }),
    uncommitted: Flags.boolean({ description: 'read what is not committed too' }),
  };

  protected async execute(): Promise<Outcome> {
    const { output = standardOutput(), offset, length, uncommitted } = this.flags;
    const { volume, name } = this.args;
    return this.withFile(volume, name, { access: 'read', uncommitted }, async (file) => {
      const range = { offset, length: length ?? Math.max(0, file.device.size - offset) };
      await this.deliver(file.device, range, output, file.volume.located);
      return {
        result: { name, offsetBytes: offset, readBytes: range.length, output },
        text: () => `read ${formatSize(range.length)} to ${output}`,
      };
    });
  }
}
