/** What the commands on files of an extents volume share: how a file is named, opened, written and told of. */
import * as Args from '@oclif/core/args';
import type { Command } from '@oclif/core/command';
import * as Flags from '@oclif/core/flags';
import { UserError } from '../errors.js';
import type { FlagPlace } from '../metadata/flag-places.js';
import type { OpenFile, OpenFileOptions } from '../volume/index.js';
import type { InputData } from './data-files.js';
import { COMMON_EXIT_CODES } from './exit-codes.js';
import { sizeFlag } from './flags.js';
import { printableLine } from './printable.js';
import { counted, formatSize } from './sizes.js';
import { VolumeCommand } from './volume-command.js';

/** One argument, so that the file's name can follow. */
export const oneVolumeArgument = Args.string({
  name: 'volume',
  required: true,
  ignoreStdin: true,
  description: 'directory of a volume of the format extents, or its image',
});

export function fileNameArgument(description = 'name of the file') {
  return Args.string({ name: 'name', required: true, ignoreStdin: true, description });
}

export const someFileArgument = Args.string({
  name: 'name',
  ignoreStdin: true,
  description: 'name of the file [default: all of them]',
});

export const journalFullFlag = Flags.option({
  options: ['commit', 'fail'] as const,
  default: 'commit' as const,
  description: 'with no room left for the journal: commit what was written so far and go on, or fail',
})();

export const commitEveryFlag = sizeFlag({
  min: 1,
  description: 'commit whenever so much is written [default: once, at the end]',
});

/** Where flags of what is not committed are kept. */
export const FLAG_PLACE_WORDS: Readonly<Record<FlagPlace, string>> = {
  metadata: 'at the metadata server',
  local: 'in a file of this machine',
  data: 'on the storage, in extents of their own',
};

export const FILE_EXIT_CODES: Readonly<Record<string, string>> = {
  ...COMMON_EXIT_CODES,
  '10': 'no such volume, image or file',
};

export interface WritePlan {
  readonly commitEveryBytes: number | undefined;
  /** Else it stays in the journal. */
  readonly commits: boolean;
  /** Where the flags of what stays there are kept, if not where the volume says. */
  readonly flags?: FlagPlace | undefined;
}

/** What writing came to. What the server of a volume did for it is not known here. */
export interface Written {
  readonly writtenBytes: number;
  readonly isCommitted: boolean;
  readonly journal: {
    readonly commits: number;
    readonly earlyCommits: number;
    readonly writtenBlocks: number;
    readonly copiedBlocks: number;
    readonly copiedHomeBlocks: number;
    readonly swappedExtents: number;
    readonly committedExtents: number;
  } | null;
}

export abstract class FileCommand<T extends typeof Command> extends VolumeCommand<T> {
  // oclif's manifest stops at a class without statics of its own, and would lose what is above it.
  static override exitCodes = FILE_EXIT_CODES;

  /** Opens the file (here, or at the server of its volume), runs `use` and closes it. */
  protected async withFile<R>(
    volume: string,
    name: string,
    options: Omit<OpenFileOptions, 'warn' | 'record' | 'sweep'>,
    use: (file: OpenFile) => Promise<R>,
  ): Promise<R> {
    const { withFile } = await import('../volume/index.js');
    const warn = (message: string) => void this.warn(message);
    return withFile([volume], name, { ...options, warn, record: this.recordFile }, use);
  }

  protected async writeInto(
    { target, file, settled }: OpenFile,
    offset: number,
    { pieces, totalBytes }: InputData,
    { commitEveryBytes, commits, flags }: WritePlan,
  ): Promise<Written> {
    if (!commits && file === null) {
      throw new UserError(
        'UNSUPPORTED',
        `${target.name} is served: the next flush of any client commits it`,
        {
          hint: 'leave --no-commit out, or stop the server',
        },
      );
    }
    const { writeCommitted } = await import('../volume/index.js');
    const writtenBytes = await this.sweeping('write', (options) =>
      writeCommitted(target, offset, pieces, { ...options, totalBytes, commitEveryBytes }),
    );
    await (commits || file === null ? target.commit() : file.keep({ flags }));
    // Then the counts are whole.
    await settled();
    return { writtenBytes, isCommitted: commits, journal: file?.statistics ?? null };
  }
}

export function describeWritten(name: string, offset: number, written: Written): string {
  const { writtenBytes, isCommitted, journal } = written;
  const lines = [
    `wrote ${formatSize(writtenBytes)} to ${printableLine(name)} at offset ${formatSize(offset)}${isCommitted ? '' : ', and did not commit it'}`,
  ];
  if (journal !== null && isCommitted) {
    const { commits, earlyCommits, writtenBlocks, copiedBlocks, copiedHomeBlocks } = journal;
    lines.push(
      `${counted(commits, 'commit')}, ${counted(writtenBlocks, 'block')} written, ${copiedBlocks + copiedHomeBlocks} copied; ${counted(journal.swappedExtents, 'extent')} swapped, ${journal.committedExtents} copied home`,
    );
    if (earlyCommits > 0)
      lines.push(`${earlyCommits} of the commits came early: the journal had no more room`);
  }
  return lines.join('\n');
}
