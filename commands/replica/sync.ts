/** `holdfast replica sync`: waits until a secondary is like the volume. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import {
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaNameFlag,
  replicaVolumeArgument,
} from '../../src/cli/replica-command.js';
import { counted, formatSize } from '../../src/cli/sizes.js';
import { secondsSince } from '../../src/cli/volume-command.js';

export default class ReplicaSync extends ReplicaCommand<typeof ReplicaSync> {
  static override summary = 'Make a secondary like the volume, and wait for it';
  static override description =
    'The dirty blocks are copied, and nothing else. It can be interrupted, and goes on from where it was.';
  static override examples = [
    '<%= config.bin %> replica sync myvolume',
    '<%= config.bin %> replica sync myvolume --name replica-2 --method copy-on-read',
  ];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = { volume: replicaVolumeArgument };
  static override flags = {
    name: replicaNameFlag,
    method: Flags.option({
      options: ['sweep', 'copy-on-read'] as const,
      default: 'sweep' as const,
      description:
        'copy-on-read: what is read of dirty blocks meanwhile is copied with it, and not read again',
    })(),
  };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const name = await this.chosen(volume, this.flags.name);
    const started = performance.now();
    const { copiedBlocks, copiedBytes } = await this.act(
      [volume],
      'replica sync',
      { name, method: this.flags.method },
      { label: `Copying to ${name}` },
    );
    const seconds = secondsSince(started);
    return {
      result: { name, copiedBlocks, copiedBytes, seconds },
      text: () =>
        `replica ${name} is in sync: ${counted(copiedBlocks, 'block')} copied (${formatSize(copiedBytes)}) in ${seconds} s`,
    };
  }
}
