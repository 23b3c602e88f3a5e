/** `holdfast replica status`: how the replicas of a volume are. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { renderExplanation } from '../../src/cli/explanation.js';
import {
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  renderReplicas,
  replicaVolumeArgument,
} from '../../src/cli/replica-command.js';

export default class ReplicaStatusCommand extends ReplicaCommand<typeof ReplicaStatusCommand> {
  static override summary = 'Show the replicas of a volume';
  static override description =
    'From the log and the maps on disk, or as the server of the volume has them. Nothing is written.';
  static override examples = [
    '<%= config.bin %> replica status myvolume',
    '<%= config.bin %> replica status myvolume --explain',
  ];
  static override exitCodes = { ...REPLICA_EXIT_CODES, '3': 'a replica is not in sync' };
  static override args = { volume: replicaVolumeArgument };
  static override flags = {
    explain: Flags.boolean({
      description:
        'since when each is not like the volume, how many blocks differ, which side wrote what, and what to do',
    }),
  };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const replicas = await this.replicas(volume);
    const isWell = replicas.every(({ state }) => state === 'in-sync');
    const exitCode = isWell ? 0 : 3;
    if (!this.flags.explain)
      return {
        result: { replicas },
        text: (paint) => (replicas.length === 0 ? 'no replicas' : renderReplicas(replicas, paint)),
        exitCode,
      };
    const { explainReplicas } = await import('../../src/volume/index.js');
    const explanation = await explainReplicas(volume, replicas);
    return {
      result: { replicas, explanation },
      text: () => renderExplanation(explanation),
      exitCode: explanation.replicas.some(({ state }) => state === 'diverged') ? 3 : exitCode,
    };
  }
}
