/** `holdfast file import`: a plain file becomes a file of the volume. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { type InputData, standardInput } from '../../src/cli/data-files.js';
import {
  commitEveryFlag,
  describeWritten,
  FILE_EXIT_CODES,
  FileCommand,
  fileNameArgument,
  journalFullFlag,
  oneVolumeArgument,
  type Written,
} from '../../src/cli/file-command.js';

export default class FileImport extends FileCommand<typeof FileImport> {
  static override summary = 'Make a file of the volume from a file of yours';
  static override description =
    'One commit, unless --commit-every asks for more. Where it fails, no such file stays behind.';
  static override examples = [
    '<%= config.bin %> file import myvolume disk --input disk.img',
    'zstd -d < disk.zst | <%= config.bin %> file import myvolume disk',
  ];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: fileNameArgument('name of the new file') };
  static override flags = {
    input: Flags.string({ helpValue: 'FILE|-', description: 'where it comes from; - is standard input' }),
    'commit-every': commitEveryFlag,
    'on-journal-full': journalFullFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { flags } = this;
    const { volume, name } = this.args;
    const input = await this.inputFor([volume], flags.input ?? standardInput());
    await this.act([volume], 'file create', {
      name,
      sizeBytes: 0,
      reserveBytes: 0,
      fullSizeBytes: input.totalBytes ?? null,
    });
    try {
      const written = await this.#fill(input);
      return { result: { name, ...written }, text: () => describeWritten(name, 0, written) };
    } catch (error) {
      await this.#takeBack();
      throw error;
    }
  }

  #fill(input: InputData): Promise<Written> {
    const { 'commit-every': commitEveryBytes, 'on-journal-full': onJournalFull } = this.flags;
    const { volume, name } = this.args;
    return this.withFile(volume, name, { access: 'write', onJournalFull }, (file) =>
      this.writeInto(file, 0, input, { commitEveryBytes, commits: true }),
    );
  }

  /** Why it could not be filled is what the user must hear. */
  async #takeBack(): Promise<void> {
    const { volume, name } = this.args;
    await this.act([volume], 'file remove', { name }).catch((error: unknown) => {
      this.warn(
        `${name} stays behind, and is not whole: ${error instanceof Error ? error.message : String(error)}`,
      );
    });
  }
}
