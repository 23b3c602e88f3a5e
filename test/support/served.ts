/** A volume that is served by a process of its own, as a user starts it; ready when it has said so. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { type RunResult, runHoldfast } from './run-holdfast.js';

export interface Served {
  readonly uri: string;
  readonly child: ChildProcess;
  /** Sends a signal, and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<RunResult>;
}

export async function serve(folder: string, volume: string, flags: readonly string[] = []): Promise<Served> {
  const socket = join(folder, 'nbd.sock');
  let child: ChildProcess | undefined;
  let ended: Promise<RunResult> | undefined;
  const ready = new Promise<void>((resolve, reject) => {
    ended = runHoldfast(['serve', volume, '--socket', socket, ...flags], {
      onStart(started) {
        child = started;
        started.stdin?.end();
        let said = '';
        started.stdout?.on('data', (chunk: Buffer) => {
          said += chunk.toString();
          if (said.includes('serving ')) resolve();
        });
      },
    });
    ended.then(({ stderr, exitCode }) => reject(new Error(`it ended with ${exitCode}: ${stderr}`)), reject);
  });
  await ready;
  return {
    uri: `nbd+unix:///?socket=${socket}`,
    child: child!,
    stop(signal = 'SIGTERM') {
      child!.kill(signal);
      return ended!;
    },
  };
}
