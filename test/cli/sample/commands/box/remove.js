import { HoldfastCommand } from '../../../../../dist/src/cli/base-command.js';
import { dryRunFlag, forceFlag, volumesArgument, yesFlag } from '../../../../../dist/src/cli/flags.js';

/** Asks before it does anything. */
export default class BoxRemove extends HoldfastCommand {
  static summary = 'Remove boxes';
  static args = { volume: volumesArgument };
  static flags = { yes: yesFlag, 'dry-run': dryRunFlag, force: forceFlag('remove it though it is full') };

  async execute() {
    const { yes, 'dry-run': dryRun } = this.flags;
    await this.confirm('Remove all of it?', { yes, dryRun });
    const removed = dryRun ? [] : this.args.volume;
    return { result: { removed }, text: () => `removed: ${removed.join(' ')}` };
  }
}
