/**
 * What every command is made of. A command parses, calls src/, and returns an Outcome; how that is printed,
 * what a failure looks like and what the exit code is are decided here, once.
 *
 * - One object on standard output under --json, errors included, but for data streams.
 * - The process's exit code comes from the outcome or from the error's code, never from anywhere else.
 * - `this.signal` is raised by the first Ctrl-C; a command hands it on and lets it end the work.
 */
import { Command } from '@oclif/core/command';
import type { InferredArgs, InferredFlags } from '@oclif/core/interfaces';
import { UserError } from '../errors.js';
import { type Painter, painterFor } from './colour.js';
import { COMMON_EXIT_CODES, EXIT, exitCodeOf, type ReportedCode } from './exit-codes.js';
import { toFailure, unlessInterrupted } from './failure.js';
import { jsonFlag } from './flags.js';
import { Interrupt } from './interrupt.js';
import {
  type Envelope,
  envelopeJson,
  OutputClosed,
  printJson,
  printText,
  printWarning,
  reportFailure,
  wantsJson,
  writeToOutput,
} from './output.js';
import { type Progress, startProgress } from './progress.js';
import { canAsk, confirm } from './prompts.js';
import { asUsageError } from './usage-errors.js';

export interface Outcome {
  /** For --json. Bytes are integers in fields named `...Bytes`. */
  readonly result: object;
  /** 0 where absent; 3 or 4 by the state that was found. */
  readonly exitCode?: number;
  /** For people, on standard output; absent or '': nothing is said. */
  readonly text?: (paint: Painter) => string | Promise<string>;
}

/** What long work is given: it stops when the signal is raised, and tells how far it has come. */
export interface SweepReporting {
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

export interface ConfirmOptions {
  /** --yes was given. */
  readonly yes: boolean;
  /** --dry-run was given: nothing will be done, so nothing is asked. */
  readonly dryRun?: boolean;
}

type CommandFlags<T extends typeof Command> = InferredFlags<
  (typeof HoldfastCommand)['baseFlags'] & T['flags']
>;
type CommandArgs<T extends typeof Command> = InferredArgs<T['args']>;

export abstract class HoldfastCommand<T extends typeof Command> extends Command {
  static override baseFlags = { json: jsonFlag };
  /** Shown in the help, under EXIT CODES. */
  static exitCodes: Readonly<Record<string, string>> = COMMON_EXIT_CODES;

  protected flags!: CommandFlags<T>;
  protected args!: CommandArgs<T>;
  readonly #interrupt = new Interrupt();
  readonly #warnings: string[] = [];
  #streamed = false;
  /** What a command that ran within this one failed with, and the exit code that it gives it. */
  #failedWithin: { readonly error: unknown; readonly exitCode: number } | undefined;

  protected abstract execute(): Promise<Outcome>;

  /** Raised by the first Ctrl-C; its reason is the UserError INTERRUPTED that ends the command. */
  protected get signal(): AbortSignal {
    return this.#interrupt.signal;
  }

  /** fsck has exit codes of its own. */
  protected exitCodeFor(code: ReportedCode): number {
    return exitCodeOf(code);
  }

  override async run(): Promise<void> {
    try {
      await this.#parseArguments();
      await this.#finish(await this.execute());
    } catch (error) {
      await this.#fail(error);
    } finally {
      this.#interrupt.dispose();
    }
  }

  /** Tells of something that did not stop the command: at once for people, in `warnings` under --json. */
  override warn(input: Error | string): Error | string {
    const text = typeof input === 'string' ? input : input.message;
    this.#warnings.push(text);
    if (!this.#asJson) void printWarning(text);
    return input;
  }

  /** Of what was thrown, is a fault of ours, and ends a request alone. */
  protected warnOfFault(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.warn(`a fault of holdfast's own: ${text}`);
  }

  /**
   * Returns if what the question asks may be done.
   * @throws UserError CONFIRMATION_REQUIRED off a terminal without --yes, or when the answer is no.
   */
  protected async confirm(question: string, { yes, dryRun = false }: ConfirmOptions): Promise<void> {
    if (yes || dryRun) return;
    if (!canAsk()) {
      throw new UserError(
        'CONFIRMATION_REQUIRED',
        `${question} Nobody is at a terminal to say yes, and nothing was done`,
        {
          hint:
            'dry-run' in this.ctor.flags
              ? 'add --yes to do it, or --dry-run to see what would be done'
              : 'add --yes to do it',
        },
      );
    }
    if (!(await confirm(question, this.signal))) {
      throw new UserError('CONFIRMATION_REQUIRED', 'not confirmed, nothing was done');
    }
  }

  /** Progress of work on `totalBytes` (0: not known yet), on standard error; nothing under --json but on a terminal. */
  protected progress(label: string, totalBytes = 0): Promise<Progress> {
    return startProgress(label, totalBytes, { quiet: this.#asJson && process.stderr.isTTY !== true });
  }

  /** Runs long work with progress and Ctrl-C: `options` is for whatever sweeps over members. */
  protected async sweeping<R>(label: string, work: (options: SweepReporting) => Promise<R>): Promise<R> {
    const progress = await this.progress(label);
    const onProgress = (doneBytes: number, totalBytes: number): void =>
      progress.update(doneBytes, totalBytes);
    try {
      return await work({ signal: this.signal, onProgress });
    } finally {
      progress.finish();
    }
  }

  /**
   * Writes data, not words, to standard output. From the first byte on it belongs to the data: the result
   * is not printed, and an error goes to standard error.
   */
  protected async writeData(data: Uint8Array): Promise<void> {
    this.#streamed = true;
    await writeToOutput(data);
  }

  /** For a command whose data goes to standard output even if there is not one byte of it. */
  protected claimOutputForData(): void {
    this.#streamed = true;
  }

  /**
   * Runs another command within this one. Its outcome is not printed and its warnings are this one's; what it throws
   * is thrown, and ends this one with the exit code that it would have ended the other with.
   */
  protected async runWithin(inner: HoldfastCommand<typeof Command>): Promise<Outcome> {
    inner.warn = (input) => this.warn(input);
    try {
      await inner.#parseArguments();
      return await inner.execute();
    } catch (thrown) {
      const error = unlessInterrupted(thrown, inner.signal);
      this.#failedWithin = { error, exitCode: inner.exitCodeFor(toFailure(error).code) };
      throw error;
    } finally {
      inner.#interrupt.dispose();
    }
  }

  get #asJson(): boolean {
    return wantsJson(this.argv);
  }

  async #parseArguments(): Promise<void> {
    try {
      const { args, flags } = await this.parse();
      this.args = args as CommandArgs<T>;
      this.flags = flags as CommandFlags<T>;
    } catch (error) {
      const flags = Object.keys({ ...this.ctor.baseFlags, ...this.ctor.flags, help: true });
      throw asUsageError(error, { command: this.#name, flags });
    }
  }

  async #finish(outcome: Outcome): Promise<void> {
    const exitCode = outcome.exitCode ?? EXIT.done;
    process.exitCode = exitCode;
    if (this.#streamed) return;
    if (this.#asJson) {
      await printJson(envelopeJson(this.#envelope(exitCode), { result: outcome.result }));
      return;
    }
    const text = await outcome.text?.(await painterFor(process.stdout));
    if (text) await printText(text);
  }

  async #fail(thrown: unknown): Promise<void> {
    const error = unlessInterrupted(thrown, this.signal);
    if (error instanceof OutputClosed) {
      process.exitCode = EXIT.done;
      return;
    }
    const failure = toFailure(error);
    const within = this.#failedWithin;
    const exitCode =
      within !== undefined && within.error === error ? within.exitCode : this.exitCodeFor(failure.code);
    process.exitCode = exitCode;
    await reportFailure(failure, this.#asJson ? this.#envelope(exitCode) : undefined, this.#streamed);
  }

  #envelope(exitCode: number): Envelope {
    return { command: this.#name, exitCode, warnings: this.#warnings };
  }

  /** As it is typed. */
  get #name(): string {
    return (this.id ?? '').replaceAll(':', ' ');
  }
}
