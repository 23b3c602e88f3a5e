/** `holdfast replica tracking disable`. */
import type { Outcome } from '../../../src/cli/base-command.js';
import {
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaVolumeArgument,
} from '../../../src/cli/replica-command.js';

export default class ReplicaTrackingDisable extends ReplicaCommand<typeof ReplicaTrackingDisable> {
  static override summary = 'Track a volume no longer';
  static override description = 'Its log is taken away. It must have no replicas any more.';
  static override examples = ['<%= config.bin %> replica tracking disable myvolume'];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = { volume: replicaVolumeArgument };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const { disabled: isChanged } = await this.act([volume], 'replica tracking disable', {});
    return {
      result: { disabled: isChanged },
      text: () => (isChanged ? 'nothing is tracked any more' : 'it is not tracked'),
    };
  }
}
