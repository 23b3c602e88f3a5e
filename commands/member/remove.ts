/** `holdfast member remove`: takes a member that is out of service, or a spare, off the volume's list. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { slotFlag, volumesArgument, yesFlag } from '../../src/cli/flags.js';
import { VolumeCommand } from '../../src/cli/volume-command.js';
import { UserError } from '../../src/errors.js';

export default class MemberRemove extends VolumeCommand<typeof MemberRemove> {
  static override summary = 'Take a member that is out of service, or a spare, off the list';
  static override description = 'The image stays where it is; only the volume does not name it any more.';
  static override examples = [
    '<%= config.bin %> member remove myvolume --slot 1',
    '<%= config.bin %> member remove myvolume --image old.img',
  ];
  static override args = { volume: volumesArgument };
  static override flags = {
    slot: slotFlag,
    image: Flags.string({ helpValue: 'FILE', description: 'image of the member' }),
    yes: yesFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { slot, image } = this.flags;
    if (slot === undefined && image === undefined) {
      throw new UserError('USAGE', 'which member? Give --slot N or --image FILE');
    }
    const removed = await this.act(this.args.volume, 'member remove', { slot, image });
    return {
      result: removed,
      text: () => `${removed.image} (${removed.wasState}) is no longer a member`,
    };
  }
}
