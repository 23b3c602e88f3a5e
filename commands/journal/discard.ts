/** `holdfast journal discard`: what waits in the journal is given up. */
import type { Outcome } from '../../src/cli/base-command.js';
import {
  FILE_EXIT_CODES,
  FileCommand,
  oneVolumeArgument,
  someFileArgument,
} from '../../src/cli/file-command.js';
import { dryRunFlag, yesFlag } from '../../src/cli/flags.js';
import { printableLine } from '../../src/cli/printable.js';

export default class JournalDiscard extends FileCommand<typeof JournalDiscard> {
  static override summary = 'Give up what is written and not committed';
  static override description = 'Of one file, or of each. The files are as they were last committed.';
  static override examples = ['<%= config.bin %> journal discard myvolume disk --yes'];
  static override exitCodes = FILE_EXIT_CODES;
  static override args = { volume: oneVolumeArgument, name: someFileArgument };
  static override flags = { yes: yesFlag, 'dry-run': dryRunFlag };

  protected async execute(): Promise<Outcome> {
    const { yes, 'dry-run': dryRun } = this.flags;
    const { volume, name } = this.args;
    const nothing = { result: { dryRun, files: [] }, text: () => 'nothing waits in the journal' };
    // Whom nobody asks need not be told what goes.
    if (dryRun || !yes) {
      const { files: chosen } = await this.act([volume], 'journal discard --dry-run', { name });
      if (chosen.length === 0) return nothing;
      const all = chosen.map(printableLine).join(', ');
      if (dryRun) return { result: { dryRun, files: chosen }, text: () => `would discard: ${all}` };
      await this.confirm(`Give up what is not committed of ${all}?`, { yes });
    }
    const { files } = await this.act([volume], 'journal discard', { name });
    if (files.length === 0) return nothing;
    return {
      result: { files },
      text: () => files.map((each) => `discarded ${printableLine(each)}`).join('\n'),
    };
  }
}
