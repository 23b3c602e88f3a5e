/**
 * What oclif's parser says of wrong arguments, in our words: one sentence, no dump of the configuration, and
 * the flag or value that was probably meant.
 *
 * The parser's error classes are not exported, so they are told apart by the fields that they carry.
 */
import { stripVTControlCharacters } from 'node:util';
import { CLIError } from '@oclif/core/errors';
import { UserError } from '../errors.js';
import { didYouMean } from './suggest.js';

export interface KnownArguments {
  /** As it is typed: `member add`. */
  readonly command: string;
  /** Long names, without dashes. */
  readonly flags: readonly string[];
}

function hasList<K extends string>(error: CLIError, key: K): error is CLIError & Record<K, unknown[]> {
  return key in error && Array.isArray((error as CLIError & Record<K, unknown>)[key]);
}

function list(words: readonly string[]): string {
  return words.join(', ');
}

function unknownFlags(flags: readonly string[], known: KnownArguments): UserError {
  const typed = flags.map((flag) => flag.replace(/=.*$/s, ''));
  const hints = typed.flatMap(
    (flag) => didYouMean(flag.replace(/^-+/, ''), known.flags, (name) => `--${name}`) ?? [],
  );
  return new UserError('USAGE', `unknown flag${typed.length === 1 ? '' : 's'}: ${list(typed)}`, {
    hint: hints.length > 0 ? hints.join(' ') : seeHelp(known.command),
    details: { flags: typed },
  });
}

function argumentName(arg: unknown): string {
  return typeof arg === 'object' && arg !== null && 'name' in arg
    ? String(arg.name).toUpperCase()
    : String(arg);
}

function wrongValue(message: string, known: KnownArguments): UserError | undefined {
  const match = /^Expected (?:(--[\w-]+)=)?(.*) to be one of: (.*)$/s.exec(message);
  if (match === null) return undefined;
  const [, flag = 'the argument', value = '', options = ''] = match;
  const suggestion = didYouMean(value, options.split(', '));
  return new UserError('USAGE', `${flag} cannot be "${value}": it is one of ${options}`, {
    hint: suggestion ?? seeHelp(known.command),
  });
}

export function seeHelp(command: string): string {
  return command === '' ? 'see holdfast --help' : `see holdfast ${command} --help`;
}

/** `error` as a UserError USAGE if it is one of the parser's; else unchanged. */
export function asUsageError(error: unknown, known: KnownArguments): unknown {
  if (error instanceof UserError) return unwrapped(error);
  if (!(error instanceof CLIError)) return error;
  if (hasList(error, 'flags')) return unknownFlags(error.flags.map(String), known);
  const message = firstParagraph(error.message);
  const hint = seeHelp(known.command);
  if (/^Missing \d+ required arg/.test(message) && hasList(error, 'args')) {
    return new UserError('USAGE', `missing: ${list(error.args.map(argumentName))}`, { hint });
  }
  if (message.startsWith('Unexpected argument') && hasList(error, 'args')) {
    return new UserError('USAGE', `unexpected: ${list(error.args.map(String))}`, { hint });
  }
  return wrongValue(message, known) ?? new UserError('USAGE', message.replace(/^Flag --/, '--'), { hint });
}

/** oclif writes its own words around the message of an error that a flag's own parser threw. */
function unwrapped(error: UserError): UserError {
  const match = /^Parsing (--[\w-]+) \n\t(.*)\nSee more help with --help$/s.exec(error.message);
  if (match === null) return error;
  const [, flag = '', message = ''] = match;
  return new UserError(error.code, message.startsWith(flag) ? message : `${flag}: ${message}`, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: error.details,
    cause: error.cause,
  });
}

/** Without colours, the pointer to --help and the header over a list of reasons. */
function firstParagraph(message: string): string {
  const lines = stripVTControlCharacters(message)
    .split('\n')
    .map((line) => line.trim())
    .filter(
      (line) =>
        line !== '' && !line.startsWith('See more help') && !/^The following errors? occurred/.test(line),
    );
  return lines.join('; ');
}
