/**
 * The process around the commands: what fails before a command runs or outside of one (an unknown command, a
 * topic's help, a broken installation) is told in the same way as what fails within.
 *
 * The process ends explicitly: an input that was opened and not read to its end would else keep it alive.
 */
// Loaded before the streams are guarded, as it puts a listener of its own on them.
import '@oclif/core/command';
import { ExitError } from '@oclif/core/errors';
import { run } from '@oclif/core/run';
import { settings } from '@oclif/core/settings';
import { EXIT, exitCodeOf } from './exit-codes.js';
import { toFailure } from './failure.js';
import { failureOfOutput, guardStreams, reportFailure, wantsJson } from './output.js';
import { UnknownCommand } from './unknown-command.js';
import { asUsageError } from './usage-errors.js';

/** Runs one command line (without node and script) of the package at `root`, a file URL; then the process ends. */
export async function main(argv: string[], root: string): Promise<never> {
  guardStreams();
  process.once('uncaughtException', (error) => void end(error, argv));
  // NODE_ENV=test or development would make oclif look for TypeScript sources and a transpiler.
  settings.enableAutoTranspile = false;
  try {
    await run(argv, root);
  } catch (error) {
    return end(error, argv);
  }
  const unprinted = process.exitCode ? undefined : failureOfOutput();
  return unprinted === undefined ? process.exit() : end(unprinted, argv);
}

async function end(error: unknown, argv: readonly string[]): Promise<never> {
  if (error instanceof ExitError) return process.exit(error.oclif.exit ?? 0);
  // Should telling of it fail as well, the process must end all the same, and not well.
  process.once('uncaughtException', () => process.exit(EXIT.failed));
  const command = error instanceof UnknownCommand ? error.typed : firstWord(argv);
  // Outside of commands oclif itself only fails because of what was typed.
  const failure = toFailure(asUsageError(error, { command: '', flags: [] }));
  const exitCode = exitCodeOf(failure.code);
  await reportFailure(failure, wantsJson(argv) ? { command, exitCode, warnings: [] } : undefined);
  return process.exit(exitCode);
}

function firstWord(argv: readonly string[]): string {
  return argv.find((word) => !word.startsWith('-')) ?? '';
}
