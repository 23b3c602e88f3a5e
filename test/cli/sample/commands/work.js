import { setTimeout as delay } from 'node:timers/promises';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand } from '../../../../dist/src/cli/base-command.js';

/** Works until it is interrupted, and then ends as its flags say. */
export default class Work extends HoldfastCommand {
  static flags = {
    deaf: Flags.boolean({ description: 'do not listen to the signal' }),
    graceful: Flags.boolean({ description: 'end well when interrupted, as a server does' }),
  };

  async execute() {
    const { deaf, graceful } = this.flags;
    process.stderr.write('working\n');
    try {
      await delay(20_000, undefined, deaf ? {} : { signal: this.signal });
    } catch (error) {
      process.stderr.write('closing\n');
      if (graceful) return { result: { stopped: true }, text: () => 'stopped' };
      throw error;
    }
    return { result: {} };
  }
}
