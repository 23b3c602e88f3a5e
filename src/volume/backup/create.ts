/**
 * A backup of a volume, made where the volume is open: of one that is written, through the gate; of one that nobody writes, as it is.
 */

import { UserError } from '../../errors.js';
import { Backup, type BackupResult } from '../../snapshot/backup/backup.js';
import type { OverflowPolicy } from '../../snapshot/backup/keeping.js';
import { GateDevice, type Keeper } from '../../snapshot/gate.js';
import { closeFailed } from '../closing.js';
import type { Volume } from '../model.js';
import { isRemote } from '../remote.js';
import { snapshotOf } from '../snapshots/as-volume.js';
import { cacheOf } from '../stack.js';
import { type ContainerChoice, type OpenedContainer, openContainer } from './container-place.js';
import { BackupMark } from './marks.js';
import { openTarget, type TargetChoice } from './target.js';
import { usedBlocks } from './used-blocks.js';

export interface CreateBackupOptions extends TargetChoice {
  readonly container: ContainerChoice;
  /** null: as the kind of container has it. */
  readonly containerBytes: number | null;
  readonly onOverflow: OverflowPolicy;
  readonly bytesPerSecond: number | null;
  /** What this snapshot of the volume holds; null: the volume, now. */
  readonly snapshot: string | null;
  readonly allBlocks: boolean;
  readonly skipUnreadable: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  readonly warn: (message: string) => void;
}

export interface CreatedBackup extends BackupResult {
  readonly name: string;
  readonly target: string;
  readonly sizeBytes: number;
  /** Whether it was written meanwhile, or could have been. */
  readonly isOnline: boolean;
}

/** Throws IN_USE where one runs, what the target and the container throw, and what ended it. */
export function createBackup(volume: Volume, options: CreateBackupOptions): Promise<CreatedBackup> {
  const { label, backups } = volume;
  const { name, signal } = options;
  return backups.during({ name, label, signal }, (ends, onBegun) =>
    from(volume, { ...options, signal: ends }, onBegun),
  );
}

async function from(
  volume: Volume,
  options: CreateBackupOptions,
  onBegun: (backup: Backup) => void,
): Promise<CreatedBackup> {
  if (options.snapshot === null) return make(volume, options, onBegun);
  const snapshot = snapshotOf(volume, options.snapshot);
  try {
    return await make(snapshot, options, onBegun);
  } finally {
    await snapshot.leave();
  }
}

async function make(
  volume: Volume,
  options: CreateBackupOptions,
  onBegun: (backup: Backup) => void,
): Promise<CreatedBackup> {
  const { label, device, moments, located } = volume;
  const { name, onOverflow, allBlocks, warn } = options;
  assertCanFail(volume, onOverflow);
  // Nobody tells whether others have it: a lock of an export is no lock of its server's clients.
  if (moments === null && located.images.some(isRemote))
    warn(
      `${label} is read as it is while it is copied: what others write to it meanwhile may be in the backup in part. Make the backup where it is served`,
    );
  const { target, inSet } = await openTarget(options, {
    ...{ label, sizeBytes: device.size, signal: options.signal },
  });
  const mark = inSet !== null && takesMarks(volume, options) ? new BackupMark(volume, inSet, warn) : null;
  let opened: OpenedContainer;
  try {
    opened = await containerFor(volume, options);
  } catch (error) {
    await target.abandon('failed', 'it was not begun');
    throw error;
  }
  try {
    const backup = new Backup({
      ...{ label, target, onOverflow, warn },
      ...{ container: opened.container, leftOut: opened.own },
      // Over a volume that nobody writes here a gate has nothing to do, and costs nothing.
      gate: moments?.gate ?? new GateDevice(device),
      choose: chooseFor(volume, name, mark),
      list: async (view) => {
        const used = await usedBlocks(volume, view, { allBlocks, warn });
        return mark?.listed(used) ?? { used, wanted: used };
      },
      skipsUnreadable: options.skipUnreadable,
      bytesPerSecond: options.bytesPerSecond,
      signal: options.signal,
      onProgress: options.onProgress,
    });
    onBegun(backup);
    const result = await backup.run().catch(async (error: unknown) => {
      await mark?.forget();
      throw error;
    });
    await mark?.prune();
    return { name, target: target.name, sizeBytes: device.size, isOnline: moments !== null, ...result };
  } finally {
    // What became of the backup is what the user must hear.
    await closeFailed(`the container of ${label}`, () => opened.close(), warn);
  }
}

/** What comes after the moment of a snapshot is another's to note; beside an export there is no place for it. */
function takesMarks({ located }: Volume, { snapshot }: CreateBackupOptions): boolean {
  return snapshot === null && !located.images.some(isRemote);
}

/** null: nobody writes to the volume meanwhile, and nothing is to be noted. */
function chooseFor(
  { moments }: Volume,
  name: string,
  mark: BackupMark | null,
): ((keeper: Keeper) => Promise<void>) | null {
  if (moments === null)
    return mark === null
      ? null
      : () =>
          mark.choose(
            name,
            () => {},
            async () => {},
          );
  return (keeper) => {
    const chooseWithout = () => moments.choose(keeper);
    return mark?.choose(name, () => moments.gate.add(keeper), chooseWithout) ?? chooseWithout();
  };
}

/** Writes that a cache has answered cannot fail any more but by the next flush, which is final to who asked for it. */
function assertCanFail({ label, device }: Volume, onOverflow: OverflowPolicy): void {
  if (onOverflow !== 'fail' || cacheOf(device) === null) return;
  throw new UserError(
    'UNSUPPORTED',
    `${label}: its writes are answered by a cache before they meet the container`,
    {
      hint: '--on-overflow drain has them wait; drop gives the backup up.',
    },
  );
}

/** Nothing is overwritten where nobody writes. */
function containerFor(
  volume: Volume,
  { container, containerBytes, onOverflow }: CreateBackupOptions,
): Promise<OpenedContainer> {
  const choice = volume.moments === null ? ({ kind: 'none' } as const) : container;
  return openContainer(volume, choice, { sizeBytes: containerBytes, onOverflow });
}
