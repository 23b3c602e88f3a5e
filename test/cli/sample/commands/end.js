import * as Flags from '@oclif/core/flags';
import { HoldfastCommand } from '../../../../dist/src/cli/base-command.js';
import { countFlag, sizeFlag } from '../../../../dist/src/cli/flags.js';
import { renderFacts } from '../../../../dist/src/cli/tables.js';
import { UserError } from '../../../../dist/src/errors.js';

/** Ends as its flags say: with a verdict, with an error of the user's, or with a fault. */
export default class End extends HoldfastCommand {
  static summary = 'End in a given way';
  static examples = ['$ holdfast end --verdict 3'];
  static flags = {
    verdict: countFlag(),
    size: sizeFlag({ min: 4096 }),
    layout: Flags.string({ options: ['left-symmetric', 'right-symmetric'] }),
    code: Flags.string(),
    name: Flags.string({ default: 'vol' }),
    warning: Flags.string({ multiple: true, multipleNonGreedy: true }),
    fault: Flags.boolean({ description: 'throw what is no UserError' }),
    late: Flags.boolean({ description: 'throw it where nobody waits for it' }),
  };

  async execute() {
    const { verdict = 0, size = 0, code, fault, late, name, warning = [] } = this.flags;
    for (const text of warning) this.warn(text);
    if (code) {
      const options = { hint: 'try another', details: { image: 'a.img', offsetBytes: 4096 } };
      throw new UserError(code, `a.img: cannot read at ${name}`, options);
    }
    if (fault) throw new TypeError('x is not a function', { cause: new Error('the first cause') });
    if (late) {
      setTimeout(() => {
        throw new RangeError('too late');
      }, 1);
      await new Promise((resolve) => setTimeout(resolve, 10_000));
    }
    return {
      result: { sizeBytes: size, events: 18n, stamp: 2n ** 63n },
      exitCode: verdict,
      text: (paint) =>
        renderFacts(
          [
            ['Name', name],
            ['State', { text: 'clean', tone: 'good' }],
          ],
          paint,
        ),
    };
  }
}
