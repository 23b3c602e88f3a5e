/**
 * Somebody's command, run on a state: in a process group of its own, so that what it leaves running can be ended too, with a limit of
 * time. What it prints is kept, the end of it where it is much.
 */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

const OUTPUT_BYTES = 16 * 1024;
/** What it has printed comes within this time after its end, or belongs to somebody who outlives it. */
const DRAIN_MS = 200;

export type CommandEnd =
  | { readonly how: 'exited'; readonly code: number }
  | { readonly how: 'killed'; readonly signal: NodeJS.Signals }
  /** It did not end in time. */
  | { readonly how: 'hung' };

export interface CommandRun {
  readonly end: CommandEnd;
  /** Standard output and standard error as they came. */
  readonly output: string;
}

export interface RunOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

/** By the shell. Throws the signal's reason where that is raised; and what starting a shell throws. */
export async function runCommand(command: string, options: RunOptions): Promise<CommandRun> {
  const { env, limitMs, signal } = options;
  signal.throwIfAborted();
  const child = spawn('/bin/sh', ['-c', command], {
    ...{ env: { ...process.env, ...env }, detached: true },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = new Tail();
  const streams = [child.stdout, child.stderr];
  for (const stream of streams) stream.on('data', (bytes: Buffer) => output.add(bytes));
  let isLate = false;
  const end = () => endGroup(child.pid);
  const limit = setTimeout(() => {
    isLate = true;
    end();
  }, limitMs);
  signal.addEventListener('abort', end, { once: true });
  try {
    const ended = await new Promise<CommandEnd>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, name) =>
        resolve(name === null ? { how: 'exited', code: code! } : { how: 'killed', signal: name }),
      );
    });
    end();
    await Promise.all(streams.map(drained));
    signal.throwIfAborted();
    return { end: isLate ? { how: 'hung' } : ended, output: output.text() };
  } finally {
    clearTimeout(limit);
    signal.removeEventListener('abort', end);
  }
}

/** Nothing of it runs any more; where nothing does, so much the better. */
function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whoever has left the group may hold the stream open for as long as it likes. */
function drained(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(() => stream.destroy(), DRAIN_MS);
    stream.once('close', () => {
      clearTimeout(late);
      resolve();
    });
    if (stream.closed) stream.emit('close');
  });
}

class Tail {
  #parts: Buffer[] = [];
  #bytes = 0;
  #isCut = false;

  add(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    while (this.#bytes - this.#parts[0]!.length >= OUTPUT_BYTES) {
      this.#bytes -= this.#parts.shift()!.length;
      this.#isCut = true;
    }
  }

  text(): string {
    const all = Buffer.concat(this.#parts);
    const end = all.subarray(Math.max(0, all.length - OUTPUT_BYTES)).toString('utf8');
    return this.#isCut || all.length > OUTPUT_BYTES ? `[...]\n${end}` : end;
  }
}
