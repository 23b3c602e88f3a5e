/** `holdfast snapshot create`: a moment of a volume that is kept. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { refuseOwnImages } from '../../src/cli/data-files.js';
import { sizeFlag } from '../../src/cli/flags.js';
import {
  parseSnapshotContainer,
  SNAPSHOT_EXIT_CODES,
  snapshotNameFlag,
  snapshotVolumeArgument,
} from '../../src/cli/snapshot-arguments.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';

export default class SnapshotCreate extends VolumeCommand<typeof SnapshotCreate> {
  static override summary = 'Keep a volume as it is at this moment';
  static override description =
    'The volume may be served and written meanwhile. What is overwritten from now on is kept first, block by block of 4 KiB, once for all snapshots; that is durable before the new data goes down, so a snapshot outlives a crash. One that cannot be kept any more says so, and is unusable. Somebody else who writes to the images between two openings makes all of them so.';
  static override examples = [
    '<%= config.bin %> snapshot create myvolume --name monday',
    '<%= config.bin %> snapshot create myvolume --name monday --container /other/disk/monday.kept --on-overflow drop --container-size 10GiB',
    '<%= config.bin %> read myvolume --snapshot monday --output monday.img',
  ];
  static override exitCodes = SNAPSHOT_EXIT_CODES;
  static override args = { volume: snapshotVolumeArgument };
  static override flags = {
    name: snapshotNameFlag,
    container: Flags.string({
      helpValue: 'FILE|memory|range:OFFSET+LENGTH',
      description:
        'where what is overwritten is kept; in memory it is gone with the server, a range of the volume is one that nobody uses [default: a file beside the volume]',
    }),
    'container-size': sizeFlag({
      min: 8192,
      description:
        'how large it may become; wants --on-overflow drop, throttle or fail [default: 1GiB, 64MiB in memory; with grow as large as it has to be]',
    }),
    'on-overflow': Flags.option({
      options: ['grow', 'throttle', 'drop', 'fail'] as const,
      description:
        'when the container is full, the snapshot is given up (drop), and writes are slowed down before that (throttle), or writes to what is not kept yet fail (fail); or it is never full (grow) [default: grow; of a range drop]',
    })(),
  };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const {
      name,
      container,
      'container-size': containerBytes = null,
      'on-overflow': onOverflow = null,
    } = this.flags;
    const choice = parseSnapshotContainer(container);
    if (choice.kind === 'file') {
      const { locateVolume, ownImages } = await import('../../src/volume/index.js');
      await refuseOwnImages(choice.path, ownImages(await locateVolume([volume])), 'the container');
    }
    const made = await this.act([volume], 'snapshot create', {
      ...{ name, container: choice, containerBytes, onOverflow },
    });
    return {
      result: { snapshot: made },
      text: () => `snapshot ${made.name} is ${volume} at ${made.createdAt}`,
    };
  }
}
