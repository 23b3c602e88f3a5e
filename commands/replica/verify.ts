/** `holdfast replica verify`: compares a secondary with the volume. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import {
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaNameFlag,
  replicaVolumeArgument,
} from '../../src/cli/replica-command.js';
import { counted, formatSize } from '../../src/cli/sizes.js';

export default class ReplicaVerify extends ReplicaCommand<typeof ReplicaVerify> {
  static override summary = 'Compare a secondary with the volume';
  static override description =
    'While both are in use: blocks that are written meanwhile are looked at again, and only what differs then is said to differ.';
  static override examples = ['<%= config.bin %> replica verify myvolume --repair'];
  static override exitCodes = { ...REPLICA_EXIT_CODES, '3': 'blocks differ, and were not repaired' };
  static override args = { volume: replicaVolumeArgument };
  static override flags = {
    name: replicaNameFlag,
    repair: Flags.boolean({ description: 'copy what differs from the volume to the secondary' }),
  };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const name = await this.chosen(volume, this.flags.name);
    const found = await this.act([volume], 'replica verify', { name, repair: this.flags.repair });
    const { differingBlocks, differingBytes, repairedBlocks, busyBlocks, ranges } = found;
    const { checkedBytes, neverCopiedBytes } = found;
    const busy =
      busyBlocks === 0 ? '' : `; ${counted(busyBlocks, 'block')} written to all the time, and not compared`;
    const never =
      neverCopiedBytes === 0 ? '' : `; ${formatSize(neverCopiedBytes)} never copied, and not compared`;
    const lines = ranges.map(
      ({ offsetBytes, lengthBytes }) => `  ${lengthBytes} bytes at ${offsetBytes} differ`,
    );
    const head =
      differingBlocks === 0
        ? `replica ${name} is like the volume: ${formatSize(checkedBytes)} compared${never}${busy}`
        : `${counted(differingBlocks, 'block')} not alike (${formatSize(differingBytes)})${repairedBlocks > 0 ? ', copied again' : ''}${never}${busy}`;
    return {
      result: { name, ...found },
      text: () => [head, ...lines].join('\n'),
      exitCode: differingBlocks > repairedBlocks ? 3 : 0,
    };
  }
}
