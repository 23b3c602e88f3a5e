/** `holdfast replica resume`. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { describeWritten } from '../../src/cli/explanation.js';
import { yesFlag } from '../../src/cli/flags.js';
import {
  describeReplica,
  REPLICA_EXIT_CODES,
  ReplicaCommand,
  replicaNameFlag,
  replicaVolumeArgument,
} from '../../src/cli/replica-command.js';

export default class ReplicaResume extends ReplicaCommand<typeof ReplicaResume> {
  static override summary = 'Go on with a secondary that was paused, or promoted';
  static override description =
    'What was written meanwhile is copied, and nothing else. Of a secondary that was promoted, --discard-changes gives up what was written there: it is a secondary again, and the blocks that either side wrote are copied.';
  static override examples = [
    '<%= config.bin %> replica resume myvolume',
    '<%= config.bin %> replica resume myvolume --discard-changes --yes',
  ];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = { volume: replicaVolumeArgument };
  static override flags = {
    name: replicaNameFlag,
    'discard-changes': Flags.boolean({
      description: 'of a secondary that was promoted: what was written there since is lost',
    }),
    yes: yesFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { volume } = this.args;
    const discardChanges = this.flags['discard-changes'];
    const name = await this.chosen(volume, this.flags.name);
    if (discardChanges) await this.#confirmLoss(volume, name);
    const status = await this.act([volume], 'replica resume', { name, discardChanges });
    return { result: status, text: () => describeReplica(status) };
  }

  /** Where nothing is lost nothing is asked. */
  async #confirmLoss(volume: string, name: string): Promise<void> {
    const { explainReplicas } = await import('../../src/volume/index.js');
    const { replicas } = await explainReplicas(volume, []);
    const side = replicas.find((one) => one.name === name);
    if (side?.there?.written?.blocks === 0) return;
    // It is a secondary already: a command that was cut has come so far.
    if (side?.relation === 'same') return;
    const lost = side?.there?.written == null ? 'how much is not known' : describeWritten(side.there.written);
    await this.confirm(
      `Make ${side?.to ?? name} a secondary again? What was written there since is lost: ${lost}.`,
      {
        yes: this.flags.yes,
      },
    );
  }
}
