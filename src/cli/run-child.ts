/**
 * A command of the user's that runs as long as something is there for it, and whose exit code becomes ours
 * (`serve --run`). A signal to us is handed on: it ends by its own will, and so do we.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Runs `command` in a shell with what the terminal has; its exit code, or 128 and the number of its signal. */
export function runChild(
  command: string,
  { env, signal }: { env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, { shell: true, stdio: 'inherit', env });
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
