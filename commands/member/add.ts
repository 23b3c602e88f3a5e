/** `holdfast member add`: an image for a slot that has none, or one more spare. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../../src/cli/base-command.js';
import { dryRunFlag, forceFlag, slotFlag, volumesArgument, yesFlag } from '../../src/cli/flags.js';
import { MemberCommand } from '../../src/cli/member-command.js';

export default class MemberAdd extends MemberCommand<typeof MemberAdd> {
  static override summary = 'Add a member and rebuild it';
  static override description =
    'Fills a slot that has no member, or makes a spare where none is free. It can be interrupted: the same command goes on from where it was. Without --image, what was begun goes on, or a spare is taken.';
  static override examples = [
    '<%= config.bin %> member add myvolume --image new.img',
    '<%= config.bin %> member add myvolume --slot 1 --image new.img',
    '<%= config.bin %> member add myvolume',
  ];
  static override args = { volume: volumesArgument };
  static override flags = {
    slot: slotFlag,
    image: Flags.string({ helpValue: 'FILE', description: 'image to add; it is made if it is not there' }),
    force: forceFlag('overwrite an image that holds something else'),
    yes: yesFlag,
    'dry-run': dryRunFlag,
  };

  protected execute(): Promise<Outcome> {
    const { slot, image, force, yes, 'dry-run': dryRun } = this.flags;
    return this.bringIn(this.args.volume, { slot, image, force, replace: false }, { yes, dryRun });
  }
}
