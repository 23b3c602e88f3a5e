/**
 * Help as oclif prints it, with two things of our own: every command's exit codes, and a suggestion where
 * help is asked for a command that there is not.
 */
import { CommandHelp, Help, standardizeIDFromArgv } from '@oclif/core/help';
import { unknownCommand } from './unknown-command.js';

const EXIT_CODES = 'EXIT CODES';

class HoldfastCommandHelp extends CommandHelp {
  protected override sections() {
    const sections = super.sections();
    const body = this.#exitCodes();
    if (body === '' || (this.opts.sections && !this.opts.sections.includes(EXIT_CODES))) return sections;
    return [...sections, { header: EXIT_CODES, generate: () => body }];
  }

  #exitCodes(): string {
    const codes = this.command.exitCodes;
    if (typeof codes !== 'object' || codes === null) return '';
    const lines = Object.entries(codes).map(([code, meaning]) => `${code.padStart(3)}  ${String(meaning)}`);
    return lines.join('\n');
  }
}

export default class HoldfastHelp extends Help {
  protected override CommandHelpClass = HoldfastCommandHelp;

  override async showHelp(argv: string[]): Promise<void> {
    const words = argv.filter((word) => word !== '--help');
    const [subject] = standardizeIDFromArgv([...words], this.config);
    const isKnown = (id: string): boolean =>
      Boolean(this.config.findCommand(id) ?? this.config.findTopic(id));
    if (subject !== undefined && subject !== '' && !subject.startsWith('-') && !isKnown(subject)) {
      throw unknownCommand(subject, { commands: this.config.commandIDs });
    }
    await super.showHelp(argv);
  }
}
