/**
 * oclif's hook for a command that there is not. It works off a terminal too and asks nothing: a script gets
 * exit code 2 and a hint, never another command than the one it named.
 */
import type { Hook } from '@oclif/core/hooks';
import { unknownCommand } from '../unknown-command.js';

const commandNotFound: Hook.CommandNotFound = async ({ id, config }) => {
  const commands = config.commands.filter((command) => command.hidden !== true).map((command) => command.id);
  throw unknownCommand(id, { commands });
};

export default commandNotFound;
