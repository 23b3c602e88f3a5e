/** `holdfast backup list`: the backups of a set. */
import { BACKUP_EXIT_CODES, setArgument } from '../../src/cli/backup-arguments.js';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import type { Painter } from '../../src/cli/colour.js';
import { formatSize } from '../../src/cli/sizes.js';
import { renderTable } from '../../src/cli/tables.js';
import type { BackupState, BackupSummary } from '../../src/snapshot/set/index.js';

export default class BackupList extends HoldfastCommand<typeof BackupList> {
  static override summary = 'List the backups of a set';
  static override description =
    'In the order in which they were begun. One that was cut is listed as failed; what it says of itself is looked at, and not its content: "backup verify" does that. Writes nothing.';
  static override examples = ['<%= config.bin %> backup list myset'];
  static override exitCodes = BACKUP_EXIT_CODES;
  static override args = { set: setArgument };

  protected async execute(): Promise<Outcome> {
    const { openSet } = await import('../../src/snapshot/set/index.js');
    const set = await openSet(this.args.set);
    const backups = await set.list();
    const { uuid, label, sizeBytes } = set.content;
    return {
      result: { set: set.directory, uuid, label, sizeBytes, backups },
      text: (paint) => describe(backups, paint),
    };
  }
}

const TONES = {
  damaged: 'bad',
  failed: 'bad',
  cancelled: 'doubtful',
  running: 'doubtful',
  good: 'good',
} as const;

function describe(backups: readonly BackupSummary[], paint: Painter): string | Promise<string> {
  if (backups.length === 0) return 'there are no backups';
  const size = (bytes: number | null) => (bytes === null ? '' : formatSize(bytes));
  const rows = backups.map((backup) => [
    backup.name,
    { text: backup.state, tone: TONES[backup.state satisfies BackupState] },
    backup.parent ?? '',
    backup.begunMs === null ? '' : new Date(backup.begunMs).toISOString(),
    size(backup.sizeBytes),
    size(backup.copiedBytes),
    size(backup.dataBytes),
    backup.reason ?? '',
  ]);
  const head = ['Backup', 'State', 'Since', 'Begun', 'Size', 'Copied', 'Content', 'Why'];
  return renderTable({ head, rows }, paint);
}
