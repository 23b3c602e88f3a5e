/**
 * A disk as a file, for programs that know nothing of NBD: nbdfuse (libnbd) is its client, and a filesystem of one file.
 *
 * A write(2) is asked of the disk before it is answered, and fsync(2) is a flush; close(2) and unmounting flush nothing.
 * nbdfuse ends when its filesystem is unmounted and nobody has the file open, and has by then the answer to all that it asked for.
 *
 * It has a session of its own: Ctrl-C at a terminal ends the command, which may still write. A mount that nobody takes off
 * outlives all of us, so a guard does it where we are killed.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { UserError } from '../../errors.js';

const PROGRAM = 'nbdfuse';
const MOUNT_LIMIT_MS = 10_000;
const TRY_EVERY_MS = 10;
const UNMOUNT_LIMIT_MS = 10_000;
/** So long the command's left-over processes may have the file open. */
const END_LIMIT_MS = 5000;
/** Of what it says on standard error. */
const SAID_CHARACTERS = 2000;

export interface FuseOptions {
  readonly signal?: AbortSignal | undefined;
  readonly warn: (message: string) => void;
  /** nbdfuse has ended before it was told to: the file gives errors from now on. */
  readonly onLost: (why: string) => void;
}

export class FuseFile {
  readonly path: string;
  readonly #ended: Promise<void>;
  #hasEnded = false;
  #isEnding = false;
  #isReady = false;
  #said = '';

  private constructor(
    /** Where it is mounted. */
    private readonly folder: string,
    private readonly nbdfuse: ChildProcess,
    private readonly guard: ChildProcess,
    private readonly options: FuseOptions,
  ) {
    this.path = join(folder, 'disk');
    nbdfuse.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-SAID_CHARACTERS);
    });
    this.#ended = new Promise<void>((resolve) => {
      nbdfuse.once('error', () => resolve());
      nbdfuse.once('close', () => resolve());
    }).then(() => {
      this.#hasEnded = true;
    });
  }

  /**
   * In a new folder of `directory`; the file is there when this ends.
   *
   * @throws UserError UNSUPPORTED where nbdfuse is missing, or cannot mount; the signal's reason.
   */
  static async mount(directory: string, uri: string, options: FuseOptions): Promise<FuseFile> {
    const own = await realpath(directory);
    const [folder, ready] = [join(own, 'fuse'), join(own, 'fuse-ready')];
    await mkdir(folder);
    const guard = guardOf(folder);
    const nbdfuse = spawn(PROGRAM, ['--pidfile', ready, join(folder, 'disk'), uri], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const file = new FuseFile(folder, nbdfuse, guard, options);
    try {
      await file.#mounted(ready);
    } catch (error) {
      await file.unmount();
      throw error;
    }
    file.#isReady = true;
    void file.#ended.then(() => {
      if (!file.#isEnding) options.onLost(file.#end());
    });
    return file;
  }

  async #mounted(ready: string): Promise<void> {
    let error: Error | null = null;
    this.nbdfuse.once('error', (thrown) => {
      error = thrown;
    });
    const started = performance.now();
    while ((await readFile(ready, 'utf8').catch(() => '')) === '') {
      this.options.signal?.throwIfAborted();
      if (error !== null) throw cannotRun(error);
      if (this.#hasEnded) throw cannotMount(this.#end());
      if (performance.now() - started > MOUNT_LIMIT_MS)
        throw cannotMount(`${PROGRAM} is not ready after ${MOUNT_LIMIT_MS / 1000} s`);
      await wait(TRY_EVERY_MS);
    }
  }

  /** All that was written to it has been asked of the disk, and nothing of it is left. Ends in any case. */
  async unmount(): Promise<void> {
    const { folder, options } = this;
    // Its end is told when we get to know of it, which may be after that of the command.
    const wasThere = !this.#hasEnded;
    this.#isEnding = true;
    if (await isMounted(folder)) await takeOff(folder, false);
    // Busy, or waiting for a disk that does not answer: the name goes, and those who have it open keep it.
    if (await isMounted(folder)) await takeOff(folder, true);
    if (!this.#isReady) await this.#kill();
    else if (!(await this.#endsWithin(END_LIMIT_MS))) {
      options.warn('what the command has left running has the disk open as a file: it is taken away');
      await this.#kill();
    } else if (wasThere && this.nbdfuse.exitCode !== 0) options.onLost(this.#end());
    if (await isMounted(folder)) await takeOff(folder, true);
    if (await isMounted(folder)) options.warn(`${folder} is still mounted, and cannot be unmounted`);
    await release(this.guard);
  }

  async #kill(): Promise<void> {
    this.nbdfuse.kill('SIGKILL');
    await this.#ended;
  }

  async #endsWithin(limitMs: number): Promise<boolean> {
    const limit = new AbortController();
    const late = wait(limitMs, false, { signal: limit.signal }).catch(() => false);
    const inTime = await Promise.race([this.#ended.then(() => true), late]);
    limit.abort();
    return inTime;
  }

  /** How it ended, with its own words. */
  #end(): string {
    const { signalCode, exitCode } = this.nbdfuse;
    const how = signalCode === null ? `with exit code ${exitCode}` : `by ${signalCode}`;
    const said = this.#said.trim().replaceAll('\n', '; ');
    return `${PROGRAM} has ended ${how}${said === '' ? '' : ` (${said})`}`;
  }
}

const HINT = 'Without --fuse the command has the disk by $uri.';

function cannotRun(cause: Error): UserError {
  const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
  const why = isMissing ? 'no such program' : cause.message;
  return new UserError('UNSUPPORTED', `--fuse: ${PROGRAM} cannot be started: ${why}`, {
    hint: `It comes with libnbd. ${HINT}`,
    cause,
  });
}

function cannotMount(why: string): UserError {
  return new UserError('UNSUPPORTED', `--fuse: the disk cannot be mounted as a file: ${why}`, {
    hint: `It takes /dev/fuse, and root or fusermount3. ${HINT}`,
  });
}

/** Who is not root is helped by FUSE's own program. */
function unmounting(folder: string, lazily: boolean): readonly [program: string, ...words: string[]] {
  if (process.getuid?.() === 0) return lazily ? ['umount', '-l', folder] : ['umount', folder];
  return ['fusermount3', lazily ? '-uz' : '-u', folder];
}

/** Whether it was done is for `isMounted` to say. */
async function takeOff(folder: string, lazily: boolean): Promise<void> {
  const [program, ...words] = unmounting(folder, lazily);
  const limits = { timeout: UNMOUNT_LIMIT_MS, killSignal: 'SIGKILL' } as const;
  await promisify(execFile)(program, words, limits).catch(() => undefined);
}

/** The kernel's list, because asking the folder would wait for who serves it. */
async function isMounted(folder: string): Promise<boolean> {
  const list = await readFile('/proc/self/mountinfo', 'utf8');
  const escaped = folder.replaceAll(/[\\ \t\n]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  return list.split('\n').some((line) => line.split(' ')[4] === escaped);
}

/** Waits for our end, however it comes, and takes off what we have not. */
function guardOf(folder: string): ChildProcess {
  const words = unmounting(folder, true);
  const guard = spawn('sh', ['-c', 'cat; exec "$@"', 'sh', ...words], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.on('error', () => undefined);
  return guard;
}

async function release(guard: ChildProcess): Promise<void> {
  if (guard.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return;
  const ended = once(guard, 'exit');
  guard.stdin?.end();
  await ended;
}
