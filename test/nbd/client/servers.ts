/**
 * Servers of other people, as processes of their own on a Unix socket: qemu-nbd and nbdkit, where they are installed; and
 * which of their programs are.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, watch } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Whether a program can be started; what is left out of the tests for want of it is printed, once. */
export function isInstalled(program: string, question = '--version'): boolean {
  try {
    execFileSync(program, [question], { stdio: 'ignore' });
    return true;
  } catch {
    console.log(`left out: ${program} is not installed`);
    return false;
  }
}

/** Debian's own: the interpreter that its module of libnbd was built for. */
export const DEBIAN_PYTHON = '/usr/bin/python3';

/** Whether python3-libnbd is installed; what is left out for want of it is printed. */
export function pythonHasLibnbd(): boolean {
  try {
    execFileSync(DEBIAN_PYTHON, ['-c', 'import nbd'], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('left out: python3-libnbd is not installed');
    return false;
  }
}

/** Whether fio was built with its engine for NBD; what is left out for want of it is printed. */
export function fioSpeaksNbd(): boolean {
  const speaks = execFileSync('fio', ['--enghelp'], { encoding: 'utf8' }).split(/\s+/).includes('nbd');
  if (!speaks) console.log('left out: fio is installed without its engine for NBD');
  return speaks;
}

export class ServerProcess {
  private constructor(
    readonly child: ChildProcess,
    private readonly errors: () => string,
  ) {}

  /** Starts it and waits until `ready`, a file that it makes when it listens, is there. */
  static async start(program: string, args: readonly string[], ready: string): Promise<ServerProcess> {
    rmSync(ready, { force: true });
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await new Promise<void>((resolve, reject) => {
      const watcher = watch(dirname(ready), () => {
        if (existsSync(ready)) done(resolve);
      });
      const done = (end: () => void) => {
        watcher.close();
        end();
      };
      child.once('error', (error) => done(() => reject(error)));
      child.once('exit', (code) => done(() => reject(new Error(`${program} ended with ${code}: ${text}`))));
      if (existsSync(ready)) done(resolve);
    });
    return new ServerProcess(child, () => text);
  }

  get messages(): string {
    return this.errors();
  }

  /** Ends it at once, with all that it had not made durable. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
  }
}

/** A folder with a socket, and what one server after another serves on it. */
export class ServerPlace {
  readonly #servers: ServerProcess[] = [];

  private constructor(readonly folder: string) {}

  static async make(): Promise<ServerPlace> {
    return new ServerPlace(await mkdtemp(join(tmpdir(), 'holdfast-nbd-')));
  }

  get socket(): string {
    return join(this.folder, 'socket');
  }

  uri(exportName = '', parameters = '', scheme = 'nbd+unix'): string {
    return `${scheme}:///${exportName}?socket=${this.socket}${parameters}`;
  }

  async nbdkit(...args: string[]): Promise<ServerProcess> {
    const ready = join(this.folder, 'nbdkit.pid');
    return this.#start('nbdkit', ['-f', '-U', this.socket, '-P', ready, ...args], ready);
  }

  async qemuNbd(...args: string[]): Promise<ServerProcess> {
    const ready = join(this.folder, 'qemu-nbd.pid');
    const always = ['-k', this.socket, '--pid-file', ready, '--persistent', '--shared=8'];
    return this.#start('qemu-nbd', [...always, ...args], ready);
  }

  async killServers(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.kill()));
  }

  async remove(): Promise<void> {
    await this.killServers();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #start(program: string, args: readonly string[], ready: string): Promise<ServerProcess> {
    // One that was killed has left its socket behind.
    rmSync(this.socket, { force: true });
    const server = await ServerProcess.start(program, args, ready);
    this.#servers.push(server);
    return server;
  }
}
