/**
 * A command that there is not: what was typed, and which of those that there are was probably meant.
 */
import { UserError } from '../errors.js';
import { didYouMean } from './suggest.js';
import { seeHelp } from './usage-errors.js';

export interface KnownCommands {
  /** Ids with their topics, parted by colons: `member:add`. */
  readonly commands: readonly string[];
}

/** Wrong usage; `typed` is what stands where the command should: `stat`, `member ad`. */
export class UnknownCommand extends UserError {
  constructor(
    readonly typed: string,
    hint: string,
    message = `there is no command "${typed}"`,
  ) {
    super('USAGE', message, { hint, details: { typed } });
  }
}

/** `id`: what was typed, parted by colons; arguments may follow the words of the command. */
export function unknownCommand(id: string, { commands }: KnownCommands): UnknownCommand {
  const [first = '', second] = id.split(':');
  const withinTopic = commands
    .filter((known) => known.startsWith(`${first}:`))
    .map((known) => known.slice(first.length + 1));
  if (withinTopic.length > 0 && second !== undefined) {
    const full = (word: string): string => `"holdfast ${first} ${word.replaceAll(':', ' ')}"`;
    const others = `"holdfast ${first}" has: ${withinTopic.join(', ')}`;
    return new UnknownCommand(`${first} ${second}`, didYouMean(second, withinTopic, full) ?? others);
  }
  if (first === '' || first.startsWith('-'))
    return new UnknownCommand('', seeHelp(''), 'a command is missing');
  if (commands.includes(first)) return new UnknownCommand(first, seeHelp(first), `unexpected: ${second}`);
  const words = [...new Set(commands.map((known) => known.replace(/:.*$/, '')))];
  return new UnknownCommand(first, didYouMean(first, words, (word) => `"holdfast ${word}"`) ?? seeHelp(''));
}
