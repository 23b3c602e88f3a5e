/** `holdfast read`: a range of a volume's bytes, to a file or to standard output. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../src/cli/base-command.js';
import { standardOutput } from '../src/cli/data-files.js';
import { asRawFlag, sizeFlag, volumesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { VolumeCommand } from '../src/cli/volume-command.js';
import type { Volume } from '../src/volume/index.js';

export default class Read extends VolumeCommand<typeof Read> {
  static override summary = "Read a volume's bytes";
  static override description =
    'Writes nothing to the volume, and reads one that was not closed as it is. Data goes to standard output where that is no terminal. A read that meets what cannot be read fails after the bytes before it.';
  static override examples = [
    '<%= config.bin %> read myvolume --output disk.img',
    '<%= config.bin %> read myvolume --offset 1MiB --length 4KiB --output - | xxd',
    '<%= config.bin %> read myvolume --snapshot monday --output monday.img',
    '<%= config.bin %> read disk1.img disk2.img disk3.img --output disk.img',
  ];
  static override args = { volume: volumesArgument };
  static override flags = {
    offset: sizeFlag({ default: 0, description: 'where to begin' }),
    length: sizeFlag({ description: 'how much to read [default: to the end]' }),
    output: Flags.string({ helpValue: 'FILE|-', description: 'where to put it; - is standard output' }),
    snapshot: Flags.string({
      helpValue: 'NAME',
      exclusive: ['as-raw'],
      description: 'what this snapshot of the volume holds',
    }),
    'as-raw': asRawFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { output = standardOutput(), 'as-raw': asRaw, snapshot } = this.flags;
    return this.withData(this.args.volume, { access: 'read', asRaw, snapshot }, (volume) =>
      this.#read(volume, output),
    );
  }

  async #read(volume: Volume, output: string): Promise<Outcome> {
    const { offset } = this.flags;
    const range = { offset, length: this.flags.length ?? Math.max(0, volume.device.size - offset) };
    await this.deliver(volume.device, range, output, volume.located);
    return {
      result: { offsetBytes: offset, readBytes: range.length, output },
      text: () => `read ${formatSize(range.length)} to ${output}`,
    };
  }
}
