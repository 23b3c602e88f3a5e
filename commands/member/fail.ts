/** `holdfast member fail`: takes a member out of service. */
import type { Outcome } from '../../src/cli/base-command.js';
import { dryRunFlag, requiredSlotFlag, volumesArgument, yesFlag } from '../../src/cli/flags.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';

export default class MemberFail extends VolumeCommand<typeof MemberFail> {
  static override summary = 'Take a member out of service';
  static override description =
    'The volume goes on without it, degraded; what it holds is stale from then on. Refused where the volume could not go on.';
  static override examples = ['<%= config.bin %> member fail myvolume --slot 1'];
  static override args = { volume: volumesArgument };
  static override flags = { slot: requiredSlotFlag, yes: yesFlag, 'dry-run': dryRunFlag };

  protected async execute(): Promise<Outcome> {
    const { slot, 'dry-run': dryRun } = this.flags;
    const { volume } = this.args;
    if (dryRun) {
      const { image } = await this.act(volume, 'member fail --dry-run', { slot });
      return {
        result: { dryRun, slot, image },
        text: () => `would take slot ${slot} (${image ?? 'empty'}) out of service`,
      };
    }
    const { image } = await this.act(volume, 'member fail', { slot });
    return {
      result: { slot, image },
      text: () => `slot ${slot}: ${image} is out of service; the volume is degraded`,
    };
  }
}
