/**
 * A C program that is compiled on the spot and does what it is told in a process of its own, a line for a
 * line: the peer that our kernels are measured against, where there is a compiler.
 */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const COMPILERS = ['cc', 'gcc', 'clang'];
const OPTIONS = ['-O3', '-march=native', '-std=gnu11'];

const execute = promisify(execFile);

/** A running peer, or in words why there is none. */
export type PeerOrReason = { readonly peer: CPeer; readonly compiler: string } | { readonly reason: string };

/** Compiles `source` in `directory` with the first compiler there is, and starts what came of it. */
export async function startCPeer(source: string, directory: string): Promise<PeerOrReason> {
  const program = join(directory, 'peer');
  for (const compiler of COMPILERS) {
    const version = await versionOf(compiler);
    if (version === null) continue;
    try {
      await execute(compiler, [...OPTIONS, '-o', program, source]);
    } catch (error) {
      return { reason: `${compiler} (${version}) could not compile ${source}: ${words(error)}` };
    }
    return { peer: new CPeer(program), compiler: `${compiler} ${OPTIONS.join(' ')} (${version})` };
  }
  return { reason: `there is no C compiler here (${COMPILERS.join(', ')})` };
}

export class CPeer {
  private readonly process: ChildProcessWithoutNullStreams;
  private readonly lines: AsyncIterator<string>;
  private failure: Error | null = null;

  constructor(private readonly program: string) {
    this.process = spawn(program);
    this.process.on('error', (error) => {
      this.failure = error;
    });
    // A peer that is gone shows as the end of its lines.
    this.process.stdin.on('error', () => undefined);
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  /** Sends one line and returns the number that the peer answers with. */
  async ask(line: string): Promise<number> {
    this.process.stdin.write(`${line}\n`);
    const { value, done } = await this.lines.next();
    if (done === true || !/^\d+$/.test(value)) {
      const code = this.process.exitCode ?? this.process.signalCode;
      throw new Error(`${this.program} gave no answer to "${line}" (exit ${code})`, { cause: this.failure });
    }
    return Number(value);
  }

  async close(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null || this.failure !== null) return;
    const ended = once(this.process, 'close');
    this.process.stdin.end();
    await ended;
  }
}

/** The first line of what the compiler says about itself; null when it cannot be run. */
async function versionOf(compiler: string): Promise<string | null> {
  try {
    const { stdout } = await execute(compiler, ['--version']);
    return stdout.split('\n')[0]!.trim();
  } catch {
    return null;
  }
}

function words(error: unknown): string {
  if (error instanceof Error && 'stderr' in error && typeof error.stderr === 'string' && error.stderr !== '')
    return error.stderr.split('\n').slice(0, 3).join('; ');
  return String(error);
}
