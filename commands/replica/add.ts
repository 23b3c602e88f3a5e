/** `holdfast replica add`: a secondary that becomes like the volume, and stays so. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { countFlag, forceFlag, sizeFlag, yesFlag } from '../../src/cli/flags.js';
import {
  describeReplica,
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaVolumeArgument,
} from '../../src/cli/replica-command.js';
import { counted } from '../../src/cli/sizes.js';

export default class ReplicaAdd extends ReplicaCommand<typeof ReplicaAdd> {
  static override summary = 'Replicate a volume to another image';
  static override description =
    'Blocks that ext2, ext3 and ext4 filesystems use are copied, and all else that is no hole; of a volume that is served all that is no hole. From then on what is written is sent in the order in which it was. The secondary is a raw image, made if it is not there, or an export of an NBD server. One that "serve --secondary" offers is kept as an image here is; of any other server a power cut there may leave a mixture.';
  static override examples = [
    '<%= config.bin %> replica add myvolume --to second.img',
    '<%= config.bin %> replica add myvolume --name far --to nbd://host/export --mode sync --on-loss stop',
    '<%= config.bin %> replica add second.img --to myvolume --discard-changes',
  ];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = { volume: replicaVolumeArgument };
  static override flags = {
    to: Flags.string({ required: true, helpValue: 'IMAGE-or-URI', description: 'where the secondary is' }),
    name: Flags.string({
      helpValue: 'NAME',
      description: 'what it is called [default: replica-1 and so on]',
    }),
    mode: Flags.option({
      options: ['async', 'sync'] as const,
      default: 'async' as const,
      description: 'sync: a write is answered when the secondary has it on its disk',
    })(),
    'on-loss': Flags.option({
      options: ['continue', 'stop'] as const,
      default: 'continue' as const,
      description: 'of mode sync, when the secondary is lost: go on unsynchronized, or take no more writes',
    })(),
    rate: sizeFlag({ min: 4096, description: 'a resync copies no more than so much a second' }),
    'when-outpaced': Flags.option({
      options: ['hold', 'throttle', 'report'] as const,
      description:
        'when writing outpaces a resync: hold writes for half a second at most, slow them down, or only say so [default: hold]',
    })(),
    queue: sizeFlag({
      min: 1,
      description: 'what may wait to be sent; more makes it unsynchronized [default: 64MiB]',
    }),
    'late-after': countFlag({
      min: 1,
      description: 'seconds after which an acknowledgement is late, and it is unsynchronized [default: 10]',
    }),
    'all-blocks': Flags.boolean({ description: 'copy what no filesystem uses too' }),
    'discard-changes': Flags.boolean({
      exclusive: ['force', 'all-blocks'],
      description:
        'of the primary that the volume had before it was promoted: what was written there is lost, and what differs is copied',
    }),
    force: forceFlag('overwrite a secondary that holds something else'),
    yes: yesFlag,
  };

  protected async execute(): Promise<Outcome> {
    const isReturn = this.flags['discard-changes'];
    const { to, name, mode, 'on-loss': onLoss, force, yes, 'all-blocks': usesAll } = this.flags;
    const { volume } = this.args;
    const { rate, queue, 'when-outpaced': whenOutpaced, 'late-after': seconds } = this.flags;
    const lateMs = seconds === undefined ? undefined : seconds * 1000;
    const limits = { rateBytes: rate, whenOutpaced, queueBytes: queue, lateMs };
    if (force) await this.confirm(`Overwrite ${to}? What it holds is lost.`, { yes });
    if (isReturn) await this.#confirmLoss(volume, to, yes);
    await this.act([volume], 'replica tracking enable', {});
    const added = await this.act([volume], 'replica add', {
      ...{ name, to, mode, onLoss, limits, force, usesAll, discardChanges: isReturn },
    });
    const { discardedBlocks } = added;
    const lost =
      discardedBlocks === null ? '' : `; ${counted(discardedBlocks, 'block')} that it had written are lost`;
    return { result: added, text: () => `${describeReplica(added)}${lost}` };
  }

  /** Where nothing is lost nothing is asked. */
  async #confirmLoss(volume: string, to: string, yes: boolean): Promise<void> {
    const { explainReturn } = await import('../../src/volume/index.js');
    const { changed, trouble, sinceMs } = await explainReturn(volume, to);
    if (trouble !== null) this.warn(`${to}: ${trouble}`);
    if (changed.count === 0) return;
    const since = sinceMs === null ? '' : ` since ${new Date(sinceMs).toISOString()}`;
    await this.confirm(
      `Make ${to} a secondary? ${counted(changed.count, 'block')} that were written there${since} are lost.`,
      { yes },
    );
  }
}
