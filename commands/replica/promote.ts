/** `holdfast replica promote`: a secondary becomes a volume of its own. */
import * as Args from '@oclif/core/args';
import type { Outcome } from '../../src/cli/base-command.js';
import { forceFlag, yesFlag } from '../../src/cli/flags.js';
import { REPLICA_EXIT_CODES, ReplicaCommand } from '../../src/cli/replica-command.js';
import { counted } from '../../src/cli/sizes.js';
import type { PromotedSecondary } from '../../src/volume/index.js';

export default class ReplicaPromote extends ReplicaCommand<typeof ReplicaPromote> {
  static override summary = 'Make a secondary a volume of its own';
  static override description =
    'At its last consistent point, which is said. Amid a resync that is the point before it: what the resync has overwritten is put back. Its primary writes to it no more. One that "serve --secondary" offers is promoted by its server; stop that to use it.';
  static override examples = ['<%= config.bin %> replica promote second.img --yes'];
  static override exitCodes = REPLICA_EXIT_CODES;
  static override args = {
    secondary: Args.string({ required: true, ignoreStdin: true, description: 'image of the secondary' }),
  };
  static override flags = {
    force: forceFlag('take it as it is where there is no consistent point'),
    yes: yesFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { secondary } = this.args;
    const { force, yes } = this.flags;
    await this.confirm(`Make ${secondary} a volume of its own? Its primary writes to it no more.`, { yes });
    const { promoteSecondary } = await import('../../src/volume/index.js');
    const promoted = await promoteSecondary(secondary, { force });
    return { result: promoted, text: () => describe(promoted) };
  }
}

function describe({ image, point, generation, restoredBlocks, wasPromoted }: PromotedSecondary): string {
  const at =
    point === null
      ? 'at no consistent point: check what is in it'
      : point.epoch === 0
        ? 'as its first copy left it'
        : `as of epoch ${point.epoch} (${new Date(point.atMs).toISOString()})`;
  const what = `${image} is a volume of its own, generation ${generation}, ${at}`;
  if (wasPromoted) return `${what}; it was already`;
  return restoredBlocks === 0 ? what : `${what}; ${counted(restoredBlocks, 'block')} put back`;
}
