/**
 * What goes to the two streams. Standard output has results (or data), standard error all else.
 *
 * - A reader that went away (`| head`) is no error: what is left to print is dropped, quietly.
 * - Any other failure of standard output (a full disk behind `>`) is an error: a result that was not
 *   delivered must not look delivered.
 * - Under --json standard output has one object, on one line, whatever happens.
 */
import { UserError } from '../errors.js';
import { painterFor, wantsColour } from './colour.js';
import type { Failure } from './failure.js';
import { printable, printableInJson } from './printable.js';

const FORMAT_VERSION = 1;

/** True if the arguments ask for JSON: `--json` before a `--`. Known before they are parsed, for errors in them. */
export function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json');
}

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE';
}

let outputFailure: Error | undefined;

/** What standard output failed with, if it did; a reader that went away is no failure. */
export function failureOfOutput(): UserError | undefined {
  return outputFailure && outputError(outputFailure);
}

/**
 * Without this the first EPIPE of either stream would be an uncaught exception. oclif's own listener, which
 * goes on to throw all other errors, is taken off: they reach the callback of the write that met them, and
 * failureOfOutput() for the writes of others.
 */
export function guardStreams(): void {
  process.stdout.removeAllListeners('error');
  process.stdout.on('error', (error) => {
    if (!isBrokenPipe(error)) outputFailure ??= error;
  });
  process.stderr.on('error', () => undefined);
}

/**
 * For a process that shares its two streams with others which write to them while it runs: who started it, or what it
 * starts. Node makes a pipe non-blocking, which is a state of the pipe and not of the process: the others would meet
 * EAGAIN (open(2), "open file descriptions").
 */
export function shareStreams(): void {
  for (const stream of [process.stdout, process.stderr]) {
    const { _handle: handle } = stream as { readonly _handle?: { setBlocking?(blocking: boolean): void } };
    handle?.setBlocking?.(true);
  }
}

export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

function outputError(error: Error): UserError {
  return new UserError('IO_ERROR', `cannot write to standard output: ${error.message}`, { cause: error });
}

/**
 * Writes data to standard output and resolves when it was taken.
 * @throws OutputClosed if the reader went away; UserError IO_ERROR for any other failure.
 */
export function writeToOutput(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => {
      if (!error) resolve();
      else reject(isBrokenPipe(error) ? new OutputClosed() : outputError(error));
    };
    try {
      process.stdout.write(data, done);
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  });
}

/** Prints text; a reader that went away does not matter to it. */
export function printText(text: string): Promise<void> {
  // With colours there are control characters of our own: then each name was made printable by whoever put it in.
  return printLines(wantsColour(process.stdout) ? text : printable(text));
}

/** The same for what envelopeJson gives. */
export function printJson(json: string): Promise<void> {
  return printLines(printableInJson(json));
}

async function printLines(text: string): Promise<void> {
  try {
    await writeToOutput(text.endsWith('\n') ? text : `${text}\n`);
  } catch (error) {
    if (!(error instanceof OutputClosed)) throw error;
  }
}

export interface Envelope {
  /** As it is typed, with its topic: `member add`. */
  readonly command: string;
  readonly exitCode: number;
  readonly warnings: readonly string[];
}

/** A bigint is a number where that is exact, else its decimal digits: JSON has nothing else for it. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= -BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value.toString();
}

export function envelopeJson(envelope: Envelope, body: { result: object } | { error: Failure }): string {
  const { command, exitCode, warnings } = envelope;
  return JSON.stringify({ formatVersion: FORMAT_VERSION, command, exitCode, ...body, warnings }, jsonValue);
}

/** Standard error gets no second chance: if it cannot be written, nobody can be told. */
function writeToStderr(text: string): void {
  process.stderr.write(`${text}\n`);
}

export async function printWarning(text: string): Promise<void> {
  const paint = await painterFor(process.stderr);
  writeToStderr(`${paint('doubtful', 'Warning:')} ${printable(text)}`);
}

/**
 * Tells of a failure: to a script (with an envelope) as JSON on standard output, or on standard error once
 * standard output belongs to data; to people on standard error.
 */
export async function reportFailure(
  failure: Failure,
  envelope: Envelope | undefined,
  streamed = false,
): Promise<void> {
  if (envelope === undefined) {
    await printFailure(failure);
    return;
  }
  const json = envelopeJson(envelope, { error: failure });
  if (streamed || failureOfOutput() !== undefined) writeToStderr(json);
  else await printJson(json);
}

/** For people: what failed and what to try. Only a fault of ours comes with its stack. */
async function printFailure(failure: Failure): Promise<void> {
  const paint = await painterFor(process.stderr);
  const lines = [`${paint('bad', 'Error:')} ${printable(failure.message)}`];
  if (failure.code === 'INTERNAL') lines.push(printable(String(failure.details.stack)));
  if (failure.hint !== '') lines.push(`${paint('strong', 'Hint:')} ${printable(failure.hint)}`);
  writeToStderr(lines.join('\n'));
}
