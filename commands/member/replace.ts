/** `holdfast member replace`: another image for a slot whose member still serves. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { dryRunFlag, forceFlag, requiredSlotFlag, volumesArgument, yesFlag } from '../../src/cli/flags.js';
import { MemberCommand } from '../../src/cli/member-command.js';

export default class MemberReplace extends MemberCommand<typeof MemberReplace> {
  static override summary = 'Put another image in the place of a member';
  static override description =
    'The member serves until the new image is whole, so the volume is never degraded by it. It can be interrupted: the same command goes on from where it was.';
  static override examples = ['<%= config.bin %> member replace myvolume --slot 1 --image new.img'];
  static override args = { volume: volumesArgument };
  static override flags = {
    slot: requiredSlotFlag,
    image: Flags.string({ helpValue: 'FILE', description: 'image to put in; it is made if it is not there' }),
    force: forceFlag('overwrite an image that holds something else'),
    yes: yesFlag,
    'dry-run': dryRunFlag,
  };

  protected execute(): Promise<Outcome> {
    const { slot, image, force, yes, 'dry-run': dryRun } = this.flags;
    return this.bringIn(this.args.volume, { slot, image, force, replace: true }, { yes, dryRun });
  }
}
