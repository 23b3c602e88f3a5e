/** `holdfast replica pause`. */
import type { Outcome } from '../../src/cli/base-command.js';
import {
  describeReplica,
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaNameFlag,
  replicaVolumeArgument,
} from '../../src/cli/replica-command.js';

export default class ReplicaPause extends ReplicaCommand<typeof ReplicaPause> {
  static override summary = 'Send nothing to a secondary for now';
  static override description = 'What is written meanwhile is tracked, and copied when it is resumed.';
  static override examples = ['<%= config.bin %> replica pause myvolume'];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = { volume: replicaVolumeArgument };
  static override flags = { name: replicaNameFlag };

  protected async execute(): Promise<Outcome> {
    const name = await this.chosen(this.args.volume, this.flags.name);
    const status = await this.act([this.args.volume], 'replica pause', { name });
    return { result: status, text: () => describeReplica(status) };
  }
}
