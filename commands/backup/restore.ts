/** `holdfast backup restore`: makes an image or a volume like a backup. */
import * as Flags from '@oclif/core/flags';
import { BACKUP_EXIT_CODES, setArgument } from '../../src/cli/backup-arguments.js';
import type { Outcome } from '../../src/cli/base-command.js';
import { dryRunFlag, forceFlag, yesFlag } from '../../src/cli/flags.js';
import { printableLine } from '../../src/cli/printable.js';
import { formatSize } from '../../src/cli/sizes.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { UserError } from '../../src/errors.js';
import type { BackupReader, RestoreResult } from '../../src/snapshot/set/index.js';

export default class BackupRestore extends VolumeCommand<typeof BackupRestore> {
  static override summary = 'Restore a backup';
  static override description =
    'To a new image, which is sparse, or over a volume or an image that is there: only what differs is written. When it exits with 0 the target is the backup, durably; interrupted, it goes on when it is run again. A volume that is in use is not restored over.';
  static override examples = [
    '<%= config.bin %> backup restore myset --name monday --to disk.img',
    '<%= config.bin %> backup restore myset --name monday --to myvolume --yes',
  ];
  static override exitCodes = { ...BACKUP_EXIT_CODES, '10': 'no such set, backup or volume' };
  static override args = { set: setArgument };
  static override flags = {
    name: Flags.string({ required: true, helpValue: 'NAME', description: 'which backup' }),
    to: Flags.string({
      required: true,
      helpValue: 'IMAGE|VOLUME|URI',
      description: 'where to; an image is made if it is not there',
    }),
    whole: Flags.boolean({ description: 'write all of it, and read nothing of what is there' }),
    force: forceFlag('restore though the target is larger, or dirty and degraded'),
    yes: yesFlag,
    'dry-run': dryRunFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { name, to, yes, 'dry-run': dryRun } = this.flags;
    const { BackupReader, openSet } = await import('../../src/snapshot/set/index.js');
    const { isNewTarget } = await import('../../src/volume/index.js');
    const reader = await BackupReader.open(await openSet(this.args.set), name);
    try {
      await reader.assertWhole();
      const isNew = await isNewTarget(to, this.args.set);
      if (!isNew)
        await this.confirm(`Restore ${name} over ${to}? What differs there is lost.`, { yes, dryRun });
      const restored = await (isNew ? this.#toNew(reader) : this.#over(reader));
      return {
        result: { ...(dryRun ? { dryRun } : {}), set: this.args.set, name, to, isNew, ...restored },
        text: () => describe(this.flags, restored),
      };
    } finally {
      await reader.close();
    }
  }

  async #toNew(reader: BackupReader): Promise<RestoreResult> {
    const { newTarget } = await import('../../src/volume/index.js');
    const { MemoryDevice } = await import('../../src/device/memory.js');
    const { to, 'dry-run': dryRun } = this.flags;
    const image = dryRun ? new MemoryDevice(reader.size, { name: to }) : await newTarget(to, reader.size);
    try {
      return await this.#restore(reader, image);
    } finally {
      await image.close();
    }
  }

  async #over(reader: BackupReader): Promise<RestoreResult> {
    const { assertTakesBackup } = await import('../../src/volume/index.js');
    const { to, force, 'dry-run': dryRun } = this.flags;
    return this.withVolume([to], { access: dryRun ? 'read' : 'write', force }, async (volume) => {
      assertTakesBackup(volume, reader.size, force);
      return this.#restore(reader, volume.device);
    });
  }

  async #restore(reader: BackupReader, device: BlockDevice): Promise<RestoreResult> {
    const { restoreBackup } = await import('../../src/snapshot/set/index.js');
    const { whole, to, 'dry-run': dryRun } = this.flags;
    try {
      return await this.sweeping('restore', (options) =>
        restoreBackup(reader, device, { ...options, dryRun, byDifference: !whole }),
      );
    } catch (error) {
      const isInterruption = error instanceof UserError && error.code === 'INTERRUPTED';
      if (!isInterruption || dryRun) throw error;
      throw new UserError('INTERRUPTED', `interrupted: ${to} is not the backup yet`, {
        hint: 'Run it again with --yes: it goes on from there.',
        details: { image: to },
        cause: error,
      });
    }
  }
}

function describe(
  { name, to, 'dry-run': dryRun }: { name: string; to: string; 'dry-run': boolean },
  { writtenBytes, equalBytes, seconds }: RestoreResult,
): string {
  const sizes = (written: string) =>
    `${formatSize(writtenBytes)} ${written}, ${formatSize(equalBytes)} alike`;
  const [what, target] = [printableLine(name), printableLine(to)];
  return dryRun
    ? `would restore ${what} to ${target}: ${sizes('to be written')}`
    : `restored ${what} to ${target} in ${seconds} s: ${sizes('written')}`;
}
