/**
 * Runs the product's own commands in processes of their own, as a user's shell would, and keeps count of what
 * was checked. The demo says nothing that was not seen: every claim is a check that can fail.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { UserError } from '../errors.js';

export interface CommandRun {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface DemoContext {
  /** The built command line: node and bin/run.js. */
  readonly program: readonly string[];
  readonly directory: string;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** What was claimed did not hold. */
function failed(message: string): UserError {
  return new UserError('REFUSED', message, {
    hint: 'run it again with --keep and look at the volume; please report it',
  });
}

export class Runner {
  private passedCount = 0;

  constructor(private readonly context: DemoContext) {}

  get passed(): number {
    return this.passedCount;
  }

  get directory(): string {
    return this.context.directory;
  }

  title(text: string): void {
    this.context.say(`\n${text}`);
  }

  note(text: string): void {
    this.context.say(`  ${text}`);
  }

  /** Shows the command and runs it. Any exit code but those expected ends the demo. */
  async holdfast(
    args: readonly string[],
    expected: readonly number[] = [0],
    input?: Uint8Array,
  ): Promise<CommandRun> {
    this.context.say(`  $ holdfast ${args.map(quoted).join(' ')}`);
    const run = await this.spawn([...this.context.program, ...args], input);
    if (!expected.includes(run.exitCode)) {
      throw failed(
        `holdfast ${args.join(' ')} exited ${run.exitCode}, not ${expected.join(' or ')}:\n${run.stdout.toString()}${run.stderr}`,
      );
    }
    return run;
  }

  /** The result of a command under --json. */
  async result<T>(args: readonly string[], expected?: readonly number[]): Promise<T> {
    const run = await this.holdfast([...args, '--json'], expected);
    return (JSON.parse(run.stdout.toString()) as { result: T }).result;
  }

  /** Runs `body` while the volume is served, by a server that ends well after it. */
  async served(volume: string, body: () => Promise<void>): Promise<void> {
    const args = ['serve', volume, '--socket', 'demo.sock'];
    this.context.say(`  $ holdfast ${args.join(' ')} &`);
    let server: ChildProcess | undefined;
    let ended: Promise<CommandRun> | undefined;
    const ready = new Promise<void>((resolve) => {
      ended = this.spawn([...this.context.program, ...args], undefined, (child) => {
        server = child;
        child.stdout?.once('data', () => resolve());
      });
    });
    const early = ended!.then(({ stderr }) => Promise.reject(failed(`the server has ended: ${stderr}`)));
    await Promise.race([ready, early]);
    try {
      await Promise.race([body(), early]);
    } finally {
      early.catch(() => undefined);
      server!.kill('SIGTERM');
      await ended;
    }
  }

  /** Another program; null where it is not installed. */
  async tool(program: string, args: readonly string[]): Promise<CommandRun | null> {
    try {
      const run = await this.spawn([program, ...args]);
      this.context.say(`  $ ${program} ${args.join(' ')}`);
      return run;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    }
  }

  check(what: string, holds: boolean, seen: string): void {
    if (!holds) throw failed(`check failed: ${what}; seen: ${seen}`);
    this.passedCount++;
    this.context.say(`  ok  ${what}`);
  }

  private spawn(
    command: readonly string[],
    input?: Uint8Array,
    onStart?: (child: ChildProcess) => void,
  ): Promise<CommandRun> {
    this.context.signal.throwIfAborted();
    const [program, ...args] = command;
    return new Promise((resolve, reject) => {
      const child = spawn(program!, args, {
        cwd: this.context.directory,
        stdio: 'pipe',
        signal: this.context.signal,
      });
      onStart?.(child);
      const stdout: Buffer[] = [];
      const stderr: Buffer[] = [];
      child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
      child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
      child.on('error', reject);
      child.on('close', (code, signal) => {
        resolve({
          exitCode: code ?? (signal === null ? 1 : 128),
          stdout: Buffer.concat(stdout),
          stderr: Buffer.concat(stderr).toString(),
        });
      });
      // A program that is not there reports that by 'error'; its standard input cannot be written then.
      child.stdin.on('error', () => undefined);
      child.stdin.end(input);
    });
  }
}

/** As it is to be typed, where it is no plain word. */
function quoted(word: string): string {
  return /[\s"'$]/.test(word) ? `'${word.replaceAll("'", "'\\''")}'` : word;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
