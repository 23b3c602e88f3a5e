/** `holdfast replica remove`: a secondary is sent nothing any more. */
import type { Outcome } from '../../src/cli/base-command.js';
import { dryRunFlag, yesFlag } from '../../src/cli/flags.js';
import {
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaNameFlag,
  replicaVolumeArgument,
} from '../../src/cli/replica-command.js';

export default class ReplicaRemove extends ReplicaCommand<typeof ReplicaRemove> {
  static override summary = 'Stop replicating to a secondary';
  static override description =
    'The secondary stays as it is; replica promote makes a volume of it. What it lacks is forgotten: to add it again copies all of it.';
  static override examples = ['<%= config.bin %> replica remove myvolume --name replica-1 --yes'];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = { volume: replicaVolumeArgument };
  static override flags = { name: replicaNameFlag, yes: yesFlag, 'dry-run': dryRunFlag };

  protected async execute(): Promise<Outcome> {
    const { yes, 'dry-run': dryRun } = this.flags;
    const { volume } = this.args;
    const name = await this.chosen(volume, this.flags.name);
    if (dryRun) return { result: { dryRun, name }, text: () => `would remove replica ${name}` };
    await this.confirm(`Stop replicating to ${name}?`, { yes });
    const removed = await this.act([volume], 'replica remove', { name });
    return {
      result: removed,
      text: () => `replica ${removed.name} is removed; ${removed.to} stays as it is`,
    };
  }
}
