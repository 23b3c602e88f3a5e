/** What the commands on snapshots share: a volume, a name, and how they are shown. */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { UserError } from '../errors.js';
import type { SnapshotContainer, SnapshotStatus } from '../volume/index.js';
import { parseContainer } from './backup-arguments.js';
import type { Painter } from './colour.js';
import { COMMON_EXIT_CODES } from './exit-codes.js';
import { printableLine } from './printable.js';
import { formatSize } from './sizes.js';
import { renderTable } from './tables.js';

export const snapshotVolumeArgument = Args.string({
  name: 'volume',
  required: true,
  ignoreStdin: true,
  description: 'directory of a volume, or its image',
});

export const snapshotNameFlag = Flags.string({
  required: true,
  helpValue: 'NAME',
  description: 'what it is called',
});

export const SNAPSHOT_EXIT_CODES: Readonly<Record<string, string>> = {
  ...COMMON_EXIT_CODES,
  '10': 'no such volume, image or snapshot',
};

/** @throws UserError USAGE for what cannot keep a snapshot. */
export function parseSnapshotContainer(text: string | undefined): SnapshotContainer {
  const choice = parseContainer(text);
  if (choice.kind === 'none')
    throw new UserError('USAGE', '--container cannot be "none": a snapshot is kept somewhere');
  return choice;
}

export async function renderSnapshots(snapshots: readonly SnapshotStatus[], paint: Painter): Promise<string> {
  const head = ['Snapshot', 'State', 'Created', 'Changed since', 'Takes', 'Why'];
  const rows = snapshots.map(({ name, state, createdAt, changedBytes, usedBytes, reason, isDurable }) => [
    printableLine(name),
    isDurable ? state : `${state}, in memory`,
    createdAt,
    changedBytes === null ? 'not known' : formatSize(changedBytes),
    formatSize(usedBytes),
    printableLine(reason ?? ''),
  ]);
  return renderTable({ head, rows }, paint);
}
