/** `holdfast journal status`: what is written and not committed. */
import type { Outcome } from '../../src/cli/base-command.js';
import type { Painter } from '../../src/cli/colour.js';
import { COMMON_EXIT_CODES } from '../../src/cli/exit-codes.js';
import { FileCommand, oneVolumeArgument } from '../../src/cli/file-command.js';
import { formatSize } from '../../src/cli/sizes.js';
import { renderFacts, renderTable } from '../../src/cli/tables.js';
import type { OperationResult } from '../../src/volume/index.js';

type Status = OperationResult<'journal status'>;

export default class JournalStatus extends FileCommand<typeof JournalStatus> {
  static override summary = 'Show what is written and not committed';
  static override description =
    'It outlives the process that wrote it, and nobody else sees it before it is committed.';
  static override examples = ['<%= config.bin %> journal status myvolume'];
  static override exitCodes = COMMON_EXIT_CODES;
  static override args = { volume: oneVolumeArgument };

  protected async execute(): Promise<Outcome> {
    const status = await this.act([this.args.volume], 'journal status', {});
    return { result: status, text: (paint) => describe(status, paint) };
  }
}

async function describe(status: Status, paint: Painter): Promise<string> {
  const { files, transactions, readyExtents, heldExtents, space } = status;
  const facts = renderFacts(
    [
      ['To complete', `${transactions} transactions`],
      ['Journal extents', `${heldExtents} in use, ${readyExtents} ready`],
      ['Headroom', `${space.free - space.reserved} extents free, ${space.reserved} reserved for files`],
    ],
    paint,
  );
  if (files.length === 0) return `${facts}\n\nnothing waits to be committed`;
  const head = ['File', 'Extents', 'Blocks written', 'Blocks cleared', 'Size after', 'Flags'];
  const rows = files.map(({ name, extents, writtenBlocks, clearedBlocks, sizeBytes, flags, away }) => [
    name,
    String(extents),
    String(writtenBlocks),
    String(clearedBlocks),
    formatSize(sizeBytes),
    away === null ? (flags ?? 'not kept') : `${flags}: ${away}`,
  ]);
  return `${facts}\n\n${await renderTable({ head, rows }, paint)}`;
}
