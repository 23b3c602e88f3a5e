/**
 * Ctrl-C. The first signal asks: the AbortSignal is raised and the command stops at a safe point and closes
 * its volumes, so that they are clean. The second ends the process at once, as a power cut would.
 */
import { UserError } from '../errors.js';
import { EXIT } from './exit-codes.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class Interrupt {
  readonly #controller = new AbortController();
  readonly #listener = (name: NodeJS.Signals): void => this.#received(name);

  constructor() {
    for (const name of SIGNALS) process.on(name, this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Gives the signals back to the platform. */
  dispose(): void {
    for (const name of SIGNALS) process.off(name, this.#listener);
  }

  #received(name: NodeJS.Signals): void {
    if (this.signal.aborted) process.exit(EXIT.interrupted);
    if (process.stderr.isTTY) {
      process.stderr.write('\nStopping at a safe point; once more ends at once.\n');
    }
    this.#controller.abort(
      new UserError('INTERRUPTED', `interrupted by ${name}`, { details: { signal: name } }),
    );
  }
}
