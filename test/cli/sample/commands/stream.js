import { HoldfastCommand } from '../../../../dist/src/cli/base-command.js';
import { countFlag } from '../../../../dist/src/cli/flags.js';
import { UserError } from '../../../../dist/src/errors.js';

/** Writes data to standard output, and may fail after some of it. */
export default class Stream extends HoldfastCommand {
  static flags = { chunks: countFlag({ default: 1 }), 'fail-at': countFlag() };

  async execute() {
    for (let i = 0; i < this.flags.chunks; i++) {
      if (i === this.flags['fail-at']) throw new UserError('DATA_UNAVAILABLE', 'in doubt');
      await this.writeData(Buffer.alloc(65536, 'd'));
    }
    return { result: { chunks: this.flags.chunks }, text: () => 'never printed' };
  }
}
