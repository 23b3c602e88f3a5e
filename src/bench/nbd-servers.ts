/**
 * NBD servers as processes: ours as a user starts it, and its peers, each on an image of its own at a unix socket of
 * its own. They run side by side while a bench lasts; who is not asked anything costs nothing.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { packagePath } from '../package-root.js';

const execute = promisify(execFile);
const START_LIMIT_MS = 30_000;
const TRY_EVERY_MS = 20;

/** How a server is started on what it serves, to listen at a unix socket. */
export type ServerCommand = (what: string, socket: string) => readonly [program: string, ...args: string[]];

/** Caches are qemu's default (writeback), as ours is. */
export const QEMU_NBD: ServerCommand = (image, socket) => [
  'qemu-nbd',
  '--format=raw',
  '--persistent',
  '--shared=16',
  `--socket=${socket}`,
  image,
];

/** An image, and with a second one a gate that copies what is overwritten there first: what a backup reads beside it is not served here. */
export function storageDaemon(copiesTo: string | null): ServerCommand {
  return (image, socket) => [
    'qemu-storage-daemon',
    `--blockdev=driver=file,node-name=disk,filename=${image}`,
    ...(copiesTo === null
      ? []
      : [
          `--blockdev=driver=file,node-name=copies,filename=${copiesTo}`,
          '--blockdev=driver=copy-before-write,node-name=gate,file=disk,target=copies',
        ]),
    `--nbd-server=addr.type=unix,addr.path=${socket},max-connections=16`,
    `--export=type=nbd,id=export,node-name=${copiesTo === null ? 'disk' : 'gate'},name=disk,writable=on`,
  ];
}

export const NBDKIT: ServerCommand = (image, socket) => [
  'nbdkit',
  '--foreground',
  '--exit-with-parent',
  '--unix',
  socket,
  'file',
  image,
];

export const HOLDFAST: ServerCommand = (volume, socket) => [
  process.execPath,
  packagePath('bin', 'run.js'),
  'serve',
  volume,
  '--socket',
  socket,
];

/** Why there is no such program, in words; null: there is one. */
export async function whyNo(program: string): Promise<string | null> {
  try {
    await execute(program, ['--version']);
    return null;
  } catch (error) {
    return `${program} cannot be run: ${error instanceof Error ? error.message : String(error)}`;
  }
}

export class RunningServer {
  private said = '';

  private constructor(
    readonly socket: string,
    private readonly process: ChildProcess,
  ) {
    process.stderr?.on('data', (chunk: Buffer) => {
      this.said += chunk.toString();
    });
    process.on('error', (error) => {
      this.said += error.message;
    });
  }

  /** Ends when it takes connections. @throws Error with what it said, when it does not. */
  static async start(command: ServerCommand, what: string, socket: string): Promise<RunningServer> {
    const [program, ...args] = command(what, socket);
    const server = new RunningServer(socket, spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] }));
    const started = performance.now();
    while (!(await listens(socket))) {
      const late = performance.now() - started > START_LIMIT_MS;
      if (late) server.process.kill();
      if (late || server.hasEnded) throw new Error(`${program} does not serve ${what}: ${server.said}`);
      await wait(TRY_EVERY_MS);
    }
    return server;
  }

  /** Tells it to stop, and waits for its end. */
  async stop(): Promise<void> {
    if (this.hasEnded) return;
    const ended = once(this.process, 'close');
    this.process.kill();
    await ended;
  }

  private get hasEnded(): boolean {
    const { exitCode, signalCode, pid } = this.process;
    return exitCode !== null || signalCode !== null || pid === undefined;
  }
}

function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
