/** `holdfast file write`: bytes from a file or standard input into a file of the volume, committed as a whole. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { standardInput } from '../../src/cli/data-files.js';
import {
  commitEveryFlag,
  describeWritten,
  FILE_EXIT_CODES,
  FileCommand,
  fileNameArgument,
  journalFullFlag,
  oneVolumeArgument,
} from '../../src/cli/file-command.js';
import { sizeFlag } from '../../src/cli/flags.js';
import { FLAG_PLACES } from '../../src/metadata/flag-places.js';

export default class FileWrite extends FileCommand<typeof FileWrite> {
  static override summary = "Write a file's bytes, all or nothing";
  static override description =
    'When it exits with 0, all of it is committed: whatever happens before, the file is as it was, or as it was at one of the commit points that --commit-every asks for, or that came early because the journal had no more room (--on-journal-full fail has none). With --no-commit it stays in the journal, where nobody else sees it: holdfast journal commit, or discard. The file grows where it is written past its end.';
  static override examples = [
    '<%= config.bin %> file write myvolume disk --offset 1MiB --input part.img',
    'pg_dump db | <%= config.bin %> file write myvolume dump --commit-every 64MiB',
    '<%= config.bin %> file write myvolume disk --input new.img --no-commit',
  ];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: fileNameArgument() };
  static override flags = {
    offset: sizeFlag({ default: 0, description: 'where to begin' }),
    input: Flags.string({ helpValue: 'FILE|-', description: 'where it comes from; - is standard input' }),
    'commit-every': commitEveryFlag,
    'no-commit': Flags.boolean({
      description: 'leave it in the journal',
      exclusive: ['commit-every'],
    }),
    flags: Flags.option({
      options: FLAG_PLACES,
      dependsOn: ['no-commit'],
      description:
        'with --no-commit: keep what says which blocks they are at the metadata server, in a file of this machine, or on the storage [default: as the volume was made]',
    })(),
    'on-journal-full': journalFullFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { flags } = this;
    const { volume, name } = this.args;
    const input = await this.inputFor([volume], flags.input ?? standardInput());
    const options = { access: 'write', onJournalFull: flags['on-journal-full'] } as const;
    return this.withFile(volume, name, options, async (file) => {
      const plan = {
        commitEveryBytes: flags['commit-every'],
        commits: !flags['no-commit'],
        flags: flags.flags,
      };
      const written = await this.writeInto(file, flags.offset, input, plan).catch((error: unknown) => {
        // The error tells of its last piece alone.
        if ((file.file?.statistics.commits ?? 0) > 0)
          this.warn(`${name} is not as it was: what came before the last commit point is in it`);
        throw error;
      });
      return {
        result: { name, offsetBytes: flags.offset, ...written },
        text: () => describeWritten(name, flags.offset, written),
      };
    });
  }
}
