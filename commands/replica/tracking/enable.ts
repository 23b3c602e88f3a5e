/** `holdfast replica tracking enable`. */
import type { Outcome } from '../../../src/cli/base-command.js';
import {
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaVolumeArgument,
} from '../../../src/cli/replica-command.js';

export default class ReplicaTrackingEnable extends ReplicaCommand<typeof ReplicaTrackingEnable> {
  static override summary = 'Track what is written to a volume';
  static override description =
    'Its log of blocks is made. A volume may be served meanwhile: what its clients write from then on is tracked.';
  static override examples = ['<%= config.bin %> replica tracking enable myvolume'];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = { volume: replicaVolumeArgument };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const { enabled: isChanged } = await this.act([volume], 'replica tracking enable', {});
    return {
      result: { enabled: isChanged },
      text: () => (isChanged ? 'what is written is tracked from now on' : 'it is tracked already'),
    };
  }
}
