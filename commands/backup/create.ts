/** `holdfast backup create`: a copy of a volume as it is at one moment, while it is used. */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import * as Flags from '@oclif/core/flags';
import { backupVolumeArgument, parseContainer } from '../../src/cli/backup-arguments.js';
import type { Outcome } from '../../src/cli/base-command.js';
import { refuseOwnImages } from '../../src/cli/data-files.js';
import { COMMON_EXIT_CODES } from '../../src/cli/exit-codes.js';
import { forceFlag, sizeFlag, yesFlag } from '../../src/cli/flags.js';
import { counted, formatSize } from '../../src/cli/sizes.js';
import { secondsSince, VolumeCommand } from '../../src/cli/volume-command.js';
import { UserError } from '../../src/errors.js';

const POLICIES = ['drain', 'throttle', 'drop', 'fail', 'grow'] as const;

export default class BackupCreate extends VolumeCommand<typeof BackupCreate> {
  static override summary = 'Copy a volume as it is at one moment';
  static override description =
    'The volume may be served and written meanwhile: what is answered before the moment is in the backup, what comes later is not. The old content of what is overwritten before it is copied goes into a container first. What files and filesystems (ext2, ext3, ext4) do not use is left out. A backup that does not end well leaves nothing that could be taken for one.';
  static override examples = [
    '<%= config.bin %> backup create myvolume --output monday.img',
    '<%= config.bin %> backup create myvolume --output backups/ --name monday',
    '<%= config.bin %> backup create myvolume --output backups/ --name tuesday --since monday',
    '<%= config.bin %> backup create myvolume --output monday.img --snapshot monday',
    '<%= config.bin %> backup create myvolume --output nbd://host/export --rate 50MiB --container memory',
  ];
  static override exitCodes = {
    ...COMMON_EXIT_CODES,
    '1': 'the backup failed, and there is none',
    '130': 'it was cancelled, and there is none',
  };
  static override args = { volume: backupVolumeArgument };
  static override flags = {
    output: Flags.string({
      required: true,
      helpValue: 'IMAGE|DIRECTORY/|URI',
      description:
        'a new image, or a blank export of an NBD server; a directory, or a name that ends in a slash, is a backup set',
    }),
    name: Flags.string({
      helpValue: 'NAME',
      description: 'what it is called [default: the name of the output, in a set the time]',
    }),
    since: Flags.string({
      helpValue: 'NAME',
      description: 'in a set: keep only what differs from this backup of it',
    }),
    snapshot: Flags.string({
      helpValue: 'NAME',
      description: 'copy what this snapshot of the volume holds, instead of the volume as it is now',
    }),
    rate: sizeFlag({ min: 4096, description: 'copy no more than so much a second' }),
    'all-blocks': Flags.boolean({ description: 'copy what no file and no filesystem uses too' }),
    'skip-unreadable': Flags.boolean({
      description: 'go on without what cannot be read: it is named, and zeroes in the backup',
    }),
    container: Flags.string({
      helpValue: 'FILE|memory|range:OFFSET+LENGTH|none',
      description:
        'where the old content of what is overwritten is kept; a range is one of the volume that nothing uses; none: such writes wait until their blocks are copied [default: a file beside the volume]',
    }),
    'container-size': sizeFlag({
      min: 4096,
      description: 'of a file or in memory [default: 1GiB, 64MiB in memory]',
    }),
    'on-overflow': Flags.option({
      options: POLICIES,
      default: 'drain' as const,
      description:
        'when the container is full, writes to what is not copied yet wait while it is emptied (drain), are slowed down before that (throttle), or fail (fail); or the backup is given up (drop); or it is never full (grow)',
    })(),
    force: forceFlag('replace an image that is there, or overwrite an export that is not blank'),
    yes: yesFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const { output, rate, container, force, yes } = this.flags;
    const { locateVolume, ownImages } = await import('../../src/volume/index.js');
    const choice = parseContainer(container);
    const own = ownImages(await locateVolume([volume]));
    await refuseOwnImages(output, own, 'the backup');
    if (choice.kind === 'file') await refuseOwnImages(choice.path, own, 'the container');
    if (force) await this.confirm(`Overwrite ${output}? What it holds is lost.`, { yes });
    const isSet = await isDirectory(output);
    const { since = null, snapshot = null } = this.flags;
    if (since !== null && !isSet)
      throw new UserError('USAGE', `--since wants a backup set, and ${output} is none`);
    const started = performance.now();
    const made = await this.act(
      [volume],
      'backup create',
      {
        ...{
          name: this.flags.name ?? nameFor(output, isSet),
          to: output,
          isSet,
          since,
          snapshot,
          container: choice,
          force,
        },
        containerBytes: this.flags['container-size'] ?? null,
        onOverflow: this.flags['on-overflow'],
        bytesPerSecond: rate ?? null,
        allBlocks: this.flags['all-blocks'],
        skipUnreadable: this.flags['skip-unreadable'],
      },
      { label: `Copying to ${output}` },
    );
    const seconds = secondsSince(started);
    for (const { offsetBytes, lengthBytes } of made.unreadable)
      this.warn(`${lengthBytes} bytes at ${offsetBytes} could not be read: they are zeroes in the backup`);
    const { copiedBytes, skippedBytes, unchangedBytes, containerBytes, unreadable } = made;
    const same = unchangedBytes === 0 ? '' : `, ${formatSize(unchangedBytes)} unchanged`;
    const kept = containerBytes === 0 ? '' : `; ${formatSize(containerBytes)} overwritten meanwhile`;
    const lost = unreadable.length === 0 ? '' : `; ${counted(unreadable.length, 'range')} could not be read`;
    return {
      result: { ...made, seconds },
      text: () =>
        `${made.target} is ${volume} as it was: ${formatSize(copiedBytes)} copied, ${formatSize(skippedBytes)} not in use${same}${kept}${lost}, in ${seconds} s`,
    };
  }
}

async function isDirectory(output: string): Promise<boolean> {
  const found = await stat(output).catch(() => null);
  return found?.isDirectory() ?? output.endsWith('/');
}

/** 20261122T210533Z: sorted by name they are sorted by time. */
function nameFor(output: string, isSet: boolean): string {
  return isSet ? `${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z` : basename(output);
}
