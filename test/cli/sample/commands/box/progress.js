import { HoldfastCommand } from '../../../../../dist/src/cli/base-command.js';

/** Reports progress. */
export default class BoxProgress extends HoldfastCommand {
  static summary = 'Show progress';

  async execute() {
    const progress = await this.progress('rebuild', 1 << 20);
    progress.update(1 << 19);
    progress.finish();
    return { result: {} };
  }
}
