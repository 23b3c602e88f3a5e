/** `holdfast demo`: the story of a volume, told by the commands themselves. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../src/cli/base-command.js';

export default class DemoCommand extends HoldfastCommand<typeof DemoCommand> {
  static override summary = 'Tell the whole story on a small volume, every step checked';
  static override description =
    'Makes a RAID-5 volume of image files, fills it with a real ext4 filesystem, loses a member, rebuilds it, finds and repairs a rotten parity, has its power cut amid writes and recovers, finds by the crash lab which flush a program has forgotten, and reads arrays that the Linux kernel made. It runs the commands that it shows, in a temporary directory. Exit code 1 tells that a check failed.';
  static override examples = [
    '<%= config.bin %> demo',
    '<%= config.bin %> demo --directory /tmp/demo --keep',
  ];

  static override flags = {
    directory: Flags.string({
      helpValue: 'DIR',
      description: 'where a directory for the demo is made [default: the temporary directory]',
    }),
    keep: Flags.boolean({ description: 'keep the directory and what is in it' }),
  };

  protected async execute(): Promise<Outcome> {
    const { tellStory } = await import('../src/demo/story.js');
    const directory = await mkdtemp(join(this.flags.directory ?? tmpdir(), 'holdfast-demo-'));
    const lines: string[] = [];
    const say = (line: string) => {
      if (this.flags.json) lines.push(line);
      else this.log(line);
    };
    try {
      const program = [process.execPath, join(this.config.root, 'bin', 'run.js')];
      const passedChecks = await tellStory({ program, directory, say, signal: this.signal });
      const kept = this.flags.keep ? directory : null;
      return {
        result: { passedChecks, directory: kept, lines },
        text: () =>
          `\nAll ${passedChecks} checks passed.${kept === null ? '' : ` The volume is in ${kept}.`}`,
      };
    } finally {
      if (!this.flags.keep) await rm(directory, { recursive: true, force: true });
    }
  }
}
