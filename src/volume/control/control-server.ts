/**
 * The control socket of a volume that is served, and beside it a socket for its bytes: what the other commands use
 * while the server has the images locked.
 *
 * - Both are their owner's alone (0600), from the moment that they have a name.
 * - Those that a dead server has left are replaced; those of a live one never are.
 * - Operations that change something run one at a time: who comes meanwhile is told what runs.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { UserError } from '../../errors.js';
import { takeSocketPath } from '../../nbd/server/unix-socket.js';
import { closeInOrder } from '../stack.js';
import { type ControlRequest, errorOf, readRequest, send } from './messages.js';
import { SocketDirectory, type SocketKind } from './places.js';

export interface OperationReporting {
  /** Raised when the client hangs up, or the server stops. */
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  readonly warn: (message: string) => void;
  /** The volume is open for others too, and stays open. */
  readonly isServed?: boolean;
}

export interface ControlHandlers {
  /** Does what is asked. UserErrors are told to who asked. */
  operate(request: ControlRequest, reporting: OperationReporting): Promise<unknown>;
  /** Whether it changes nothing, and may run beside others. */
  isLook(operation: string): boolean;
  /** Somebody wants the volume's bytes. */
  onData(socket: Socket): void;
}

/** Who connects has something to say. */
const REQUEST_LIMIT_MS = 10_000;
/** Progress is for people: more often is not seen. */
const PROGRESS_EVERY_MS = 100;

export class ControlServer {
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #sockets = new Set<Socket>();
  /** Those whose request is not read yet. */
  readonly #asking = new Set<Socket>();
  #changing: string | null = null;

  private constructor(
    private readonly directory: SocketDirectory,
    private readonly handlers: ControlHandlers,
    private readonly closers: (() => Promise<void>)[],
  ) {}

  /** @throws UserError IN_USE, PERMISSION_DENIED, NO_SPACE, NOT_BLANK. */
  static async open(path: string, handlers: ControlHandlers): Promise<ControlServer> {
    const directory = await SocketDirectory.make(path);
    const server = new ControlServer(directory, handlers, []);
    try {
      await server.#listen('control', (socket) => server.#accept(socket));
      await server.#listen('data', (socket) => handlers.onData(socket));
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Stops operations at a safe point, waits for their ends, and takes the sockets away. */
  async close(): Promise<void> {
    this.#stopping.abort(new UserError('INTERRUPTED', 'the server stops'));
    // Who has not said yet what it wants will not be heard any more.
    for (const socket of this.#asking) socket.destroy();
    while (this.#running.size > 0) await Promise.all(this.#running);
    for (const socket of this.#sockets) socket.destroy();
    await closeInOrder([...this.closers.splice(0).reverse(), () => this.directory.close()]);
  }

  async #listen(kind: SocketKind, onSocket: (socket: Socket) => void): Promise<void> {
    // Who stops an operation half closes: it is told how that ended.
    const server = createServer({ allowHalfOpen: kind === 'control' }, onSocket);
    this.closers.push(() => closeServer(server));
    const remove = await takeSocketPath(this.directory.socket(kind), (path) => listenPrivately(server, path));
    this.closers.push(remove);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    // Who hangs up is told nothing; `close` follows in any case.
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
    const run = this.#serve(socket).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #serve(socket: Socket): Promise<void> {
    try {
      const request = await this.#readRequest(socket);
      if (request === null) return void socket.destroy();
      send(socket, { result: await this.#perform(request, socket) });
    } catch (error) {
      send(socket, { error: errorOf(error) });
    }
    socket.end();
  }

  async #readRequest(socket: Socket): Promise<ControlRequest | null> {
    if (this.#stopping.signal.aborted) return null;
    const limit = setTimeout(() => socket.destroy(), REQUEST_LIMIT_MS);
    this.#asking.add(socket);
    try {
      return await readRequest(socket);
    } finally {
      clearTimeout(limit);
      this.#asking.delete(socket);
    }
  }

  async #perform(request: ControlRequest, socket: Socket): Promise<unknown> {
    const gone = new AbortController();
    const hungUp = () => gone.abort(new UserError('INTERRUPTED', 'who asked for it has gone'));
    socket.once('end', hungUp).once('close', hungUp);
    socket.resume();
    let toldMs = 0;
    const reporting: OperationReporting = {
      signal: AbortSignal.any([gone.signal, this.#stopping.signal]),
      onProgress(doneBytes, totalBytes) {
        if (performance.now() - toldMs < PROGRESS_EVERY_MS && doneBytes < totalBytes) return;
        toldMs = performance.now();
        send(socket, { progress: { doneBytes, totalBytes } });
      },
      warn: (warning) => send(socket, { warning }),
    };
    const { operation } = request;
    this.#stopping.signal.throwIfAborted();
    if (this.handlers.isLook(operation)) return this.handlers.operate(request, reporting);
    if (this.#changing !== null) {
      throw new UserError('IN_USE', `${operation}: ${this.#changing} runs on this volume already`, {
        hint: 'wait for its end, or stop it',
      });
    }
    this.#changing = operation;
    try {
      return await this.handlers.operate(request, reporting);
    } finally {
      this.#changing = null;
    }
  }
}

/** The kernel gives the socket its permissions when it is bound, which `listen` does before it returns. */
function listenPrivately(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const before = process.umask(0o177);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
