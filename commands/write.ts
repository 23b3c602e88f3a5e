/** `holdfast write`: bytes from a file or standard input into a volume. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../src/cli/base-command.js';
import { type InputData, standardInput } from '../src/cli/data-files.js';
import { forceFlag, sizeFlag, volumesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { VolumeCommand } from '../src/cli/volume-command.js';
import type { Volume } from '../src/volume/index.js';

export default class Write extends VolumeCommand<typeof Write> {
  static override summary = "Write a volume's bytes";
  static override description =
    'When it exits with 0, all of it is durable. A volume that was not closed is recovered first.';
  static override examples = [
    '<%= config.bin %> write myvolume --input disk.img',
    'tar c docs | <%= config.bin %> write myvolume --offset 1GiB --input -',
  ];
  static override args = { volume: volumesArgument };
  static override flags = {
    offset: sizeFlag({ default: 0, description: 'where to begin' }),
    input: Flags.string({ helpValue: 'FILE|-', description: 'where it comes from; - is standard input' }),
    fua: Flags.boolean({ description: 'make each piece durable before the next is taken' }),
    force: forceFlag('write though the volume is dirty and degraded'),
  };

  protected async execute(): Promise<Outcome> {
    const input = await this.inputFor(this.args.volume, this.flags.input ?? standardInput());
    const options = { access: 'write', force: this.flags.force } as const;
    return this.withData(this.args.volume, options, (volume) => this.#write(volume, input));
  }

  async #write(volume: Volume, { pieces, totalBytes }: InputData): Promise<Outcome> {
    const { writeStream } = await import('../src/volume/index.js');
    const { assertRange } = await import('../src/volume/stream.js');
    const { offset, fua } = this.flags;
    // What does not fit is refused before a byte of it is written, where its length is known.
    assertRange(volume.device, offset, totalBytes ?? 0);
    const writtenBytes = await this.sweeping('write', (options) =>
      writeStream(volume.device, offset, pieces, { ...options, fua, totalBytes }),
    );
    await volume.device.flush();
    return {
      result: { offsetBytes: offset, writtenBytes, recovery: volume.recovery },
      text: () => `wrote ${formatSize(writtenBytes)} at offset ${formatSize(offset)}`,
    };
  }
}
