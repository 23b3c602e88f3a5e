/** `holdfast file list`: the files of a volume. */
import type { Outcome } from '../../src/cli/base-command.js';
import type { Painter } from '../../src/cli/colour.js';
import { COMMON_EXIT_CODES } from '../../src/cli/exit-codes.js';
import { FileCommand, oneVolumeArgument } from '../../src/cli/file-command.js';
import { formatSize } from '../../src/cli/sizes.js';
import { renderTable } from '../../src/cli/tables.js';
import type { FileStatus } from '../../src/volume/index.js';

export default class FileList extends FileCommand<typeof FileList> {
  static override summary = 'List the files of a volume';
  static override description = 'As they were last committed. Writes nothing.';
  static override examples = ['<%= config.bin %> file list myvolume'];
  static override exitCodes = COMMON_EXIT_CODES;
  static override args = { volume: oneVolumeArgument };

  protected async execute(): Promise<Outcome> {
    const { files } = await this.act([this.args.volume], 'file list', {});
    return { result: { files }, text: (paint) => describe(files, paint) };
  }
}

function describe(files: readonly FileStatus[], paint: Painter): string | Promise<string> {
  if (files.length === 0) return 'there are no files';
  const rows = files.map(({ name, sizeBytes, createdMs, isReadOnly, snapshotOf }) => [
    name,
    formatSize(sizeBytes),
    new Date(createdMs).toISOString(),
    isReadOnly ? `snapshot${snapshotOf === null ? '' : ` of ${snapshotOf}`}` : '',
  ]);
  return renderTable({ head: ['Name', 'Size', 'Made', 'Remark'], rows }, paint);
}
