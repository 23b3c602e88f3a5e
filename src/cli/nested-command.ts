/**
 * A command line that is given to another command as its arguments (`crash inject -- write VOLUME ...`): which
 * command it names, and the same words as a shell would take them.
 */
import type { Command } from '@oclif/core/command';
import { standardizeIDFromArgv } from '@oclif/core/help';
import type { Config } from '@oclif/core/interfaces';
import { UserError } from '../errors.js';
import { HoldfastCommand } from './base-command.js';
import { unknownCommand } from './unknown-command.js';

/**
 * The command that `words` name, with the rest of them as its arguments, not run yet.
 * @throws UserError USAGE if there is none, or it is none of holdfast's own or one of `refused` (ids).
 */
export async function nestedCommand(
  words: readonly string[],
  config: Config,
  refused: readonly string[],
): Promise<HoldfastCommand<typeof Command>> {
  const [id = '', ...argv] = standardizeIDFromArgv([...words], config);
  const found = config.findCommand(id);
  if (found === undefined) throw unknownCommand(id, { commands: config.commandIDs });
  const typed = id.replaceAll(':', ' ');
  if (refused.includes(id)) throw cannotRun(typed);
  const Found = (await found.load()) as unknown as new (argv: string[], config: Config) => Command;
  const command = new Found(argv, config);
  if (command instanceof HoldfastCommand) return command;
  throw cannotRun(typed);
}

function cannotRun(typed: string): UserError {
  return new UserError('USAGE', `"${typed}" cannot be run within another command`, {
    hint: 'name a command that works on a volume: -- write VOLUME --input FILE',
  });
}

/** The words as one line that a shell takes apart into the same words. */
export function commandLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : quoted(word))).join(' ');
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
