/** `holdfast read`: a range of a volume's bytes, to a file or to standard output. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../src/cli/base-command.js';
import { OutputFile } from '../src/cli/data-files.js';
import { asRawFlag, sizeFlag, volumesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { VolumeCommand } from '../src/cli/volume-command.js';
import { UserError } from '../src/errors.js';
import type { Volume } from '../src/volume/index.js';

interface Range {
  readonly offset: number;
  readonly length: number;
}

export default class Read extends VolumeCommand<typeof Read> {
  static override summary = "Read a volume's bytes";
  static override description =
    'Writes nothing to the volume, and reads one that was not closed as it is. Data goes to standard output where that is no terminal. A read that meets what cannot be read fails after the bytes before it.';
  static override examples = [
    '<%= config.bin %> read myvolume --output disk.img',
    '<%= config.bin %> read myvolume --offset 1MiB --length 4KiB --output - | xxd',
    '<%= config.bin %> read disk1.img disk2.img disk3.img --output disk.img',
  ];
  static override args = { volume: volumesArgument };
  static override flags = {
    offset: sizeFlag({ default: 0, description: 'where to begin' }),
    length: sizeFlag({ description: 'how much to read [default: to the end]' }),
    output: Flags.string({ helpValue: 'FILE|-', description: 'where to put it; - is standard output' }),
    'as-raw': asRawFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { output = this.#standardOutput(), 'as-raw': asRaw } = this.flags;
    return this.withData(this.args.volume, { access: 'read', asRaw }, (volume) => this.#read(volume, output));
  }

  #standardOutput(): '-' {
    if (process.stdout.isTTY !== true) return '-';
    throw new UserError('USAGE', 'data would go to the terminal', { hint: 'name a file: --output FILE' });
  }

  async #read(volume: Volume, output: string): Promise<Outcome> {
    const { offset } = this.flags;
    const range = { offset, length: this.flags.length ?? Math.max(0, volume.device.size - offset) };
    if (output === '-') await this.#toStandardOutput(volume, range);
    else await this.#toFile(volume, range, output);
    return {
      result: { offsetBytes: offset, readBytes: range.length, output },
      text: () => `read ${formatSize(range.length)} to ${output}`,
    };
  }

  async #toStandardOutput(volume: Volume, range: Range): Promise<void> {
    await this.#copy(volume, range, (data) => this.writeData(data));
    // Also where there was not one byte.
    this.claimOutputForData();
  }

  async #toFile(volume: Volume, range: Range, path: string): Promise<void> {
    const { assertRange } = await import('../src/volume/stream.js');
    // A mistake in the range must not cost what the file held.
    assertRange(volume.device, range.offset, range.length);
    const file = await OutputFile.create(path, volume.located.images);
    try {
      await this.#copy(volume, range, (data) => file.write(data));
    } finally {
      await file.close();
    }
  }

  async #copy(
    volume: Volume,
    { offset, length }: Range,
    put: (data: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const { readStream } = await import('../src/volume/index.js');
    await this.sweeping('read', async (options) => {
      for await (const data of readStream(volume.device, offset, length, options)) await put(data);
    });
  }
}
