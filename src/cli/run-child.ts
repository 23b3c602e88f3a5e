/**
 * A command of the user's that runs as long as something is there for it, and whose exit code becomes ours
 * (`serve --run`, `crash record`). A signal to us is handed on: it ends by its own will, and so do we.
 */
import { type SpawnOptions, spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Where a disk is served that is there for a command. */
export interface ServedPlace {
  readonly uri: string;
  readonly exportName: string;
  readonly socket?: string | undefined;
  readonly port?: number | undefined;
}

export interface ChildOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** What it writes to standard output goes to standard error: ours has something else for its readers. */
  readonly isQuiet?: boolean;
  /** A descriptor of ours that is its descriptor 3. */
  readonly third?: number;
}

/** Our environment, with what nbdkit's --run gives too. */
export function placeVariables({ uri, exportName, socket, port }: ServedPlace): NodeJS.ProcessEnv {
  return {
    ...process.env,
    uri,
    exportname: exportName,
    ...(socket === undefined ? {} : { unixsocket: socket }),
    ...(port === undefined ? {} : { port: String(port) }),
  };
}

/**
 * Runs `command` with what the terminal has: a text in a shell, words as they are. Its exit code, or 128 and the number of
 * its signal.
 *
 * @throws the system's error where it cannot be started.
 */
export function runChild(
  command: string | readonly string[],
  { env, signal, isQuiet = false, third }: ChildOptions,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const stdio: SpawnOptions['stdio'] = ['inherit', isQuiet ? process.stderr.fd : 'inherit', 'inherit'];
    if (third !== undefined) stdio.push(third);
    const [program = '', ...words] = typeof command === 'string' ? [command] : command;
    const child = spawn(program, words, { shell: typeof command === 'string', stdio, env });
    const stop = () => child.kill('SIGTERM');
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    child.once('error', reject);
    child.once('close', (code, name) => {
      signal.removeEventListener('abort', stop);
      resolve(code ?? 128 + (name === null ? 0 : constants.signals[name]));
    });
  });
}
