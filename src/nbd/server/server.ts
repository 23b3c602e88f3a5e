/**
 * An NBD server: exports, the places where it listens, its connections, and how it ends.
 *
 * - Limits: so many connections, so many of them in the handshake and for so long; so much memory for the data of
 *   requests. One connection more is closed at once. Strangers do not take the room of the user's own commands.
 * - `stop` lets what is in flight end, flushes what it served, and closes: afterwards everything that was answered is
 *   on disk. `stopNow` closes and promises nothing.
 * - Devices are whoever made the exports' to close, after the server has stopped.
 */
import type { Socket } from 'node:net';
import { UserError } from '../../errors.js';
import { Connection, type Shared } from './connection.js';
import type { ConnectionStatus, ServerStatus } from './counters.js';
import type { Export } from './export.js';
import { Listeners, type TcpPlace } from './listeners.js';
import { MemoryBudget } from './memory-budget.js';
import { ReplyBuffers } from './reply-buffers.js';
import { ServedExport } from './served-export.js';
import type { Host } from './talk.js';
import type { TlsPolicy } from './wire-pair.js';

const MIB = 1024 * 1024;
const BUDGET_BYTES = 128 * MIB;
/** Of one connection: enough for the largest depth that pays, and not all of the budget. */
const ACCOUNT_BYTES = 32 * MIB;
const POOLED_BYTES = 64 * MIB;
const HANDSHAKE_LIMIT_MS = 10_000;
const MAX_HANDSHAKES = 100;
const MAX_CONNECTIONS = 1024;
const STOP_LIMIT_MS = 10_000;

export interface ServerOptions {
  /** The first also answers to the empty name. Names differ. */
  readonly exports: readonly Export[];
  /** Beside them, for `serveLocal` alone. */
  readonly localExports?: readonly Export[];
  /** Absent: none is spoken. */
  readonly tls?: TlsPolicy;
  /** For what is thrown and is a fault of ours: the request is answered as an I/O error, or the connection ends. */
  readonly onFault: (error: unknown) => void;
  /** Bytes that data of requests may take; 128 MiB unless said otherwise, at least 4 MiB. */
  readonly budgetBytes?: number;
  /** 10 s unless said otherwise. */
  readonly handshakeLimitMs?: number;
  /** 100 unless said otherwise. */
  readonly maxHandshakes?: number;
  /** 1024 unless said otherwise. */
  readonly maxConnections?: number;
}

/** Who comes by one way, and how many of them are there: no way takes the room of another. */
interface Way {
  readonly shared: Shared;
  connections: number;
  handshakes: number;
}

export class NbdServer {
  readonly #exports: ServedExport[];
  readonly #localExports: ServedExport[];
  /** Names of those that came later. */
  readonly #added = new Set<string>();
  readonly #shared: Shared;
  /** From anywhere. */
  readonly #outer: Way;
  /** From this machine's own user: the same, without TLS. */
  readonly #local: Way;
  readonly #listeners = new Listeners((socket) => this.#accept(socket, this.#outer));
  /** With the end of each. */
  readonly #connections = new Map<Connection, Promise<void>>();
  readonly #maxHandshakes: number;
  readonly #maxConnections: number;
  #refused = 0;
  #isStopping = false;
  #stopped: Promise<void> | null = null;

  /** @throws UserError USAGE for exports that can not be served like this. */
  constructor(options: ServerOptions) {
    this.#exports = options.exports.map((given) => new ServedExport(given));
    this.#localExports = (options.localExports ?? []).map((given) => new ServedExport(given));
    checkExports(this.#all());
    this.#maxHandshakes = options.maxHandshakes ?? MAX_HANDSHAKES;
    this.#maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
    const limitMs = options.handshakeLimitMs ?? HANDSHAKE_LIMIT_MS;
    const budgetBytes = Math.max(options.budgetBytes ?? BUDGET_BYTES, 4 * MIB);
    this.#shared = {
      host: this.#hostOf(() => this.#exports, options.tls ?? null, limitMs),
      budget: new MemoryBudget(budgetBytes, Math.min(ACCOUNT_BYTES, budgetBytes)),
      buffers: new ReplyBuffers(Math.min(POOLED_BYTES, budgetBytes)),
      onFault: options.onFault,
    };
    const local = this.#hostOf(() => this.#all(), null, limitMs);
    this.#outer = { shared: this.#shared, connections: 0, handshakes: 0 };
    this.#local = { shared: { ...this.#shared, host: local }, connections: 0, handshakes: 0 };
  }

  /** One more, for all. @throws UserError USAGE for what can not be served like this. */
  addExport(given: Export): void {
    this.#add(given, this.#exports);
    this.#added.add(given.name);
  }

  /** One more, for `serveLocal` alone. @throws UserError USAGE for what can not be served like this. */
  addLocalExport(given: Export): void {
    this.#add(given, this.#localExports);
    this.#added.add(given.name);
  }

  /**
   * Nobody finds it from now on. @throws UserError IN_USE for one that was there from the beginning, or that somebody uses; what
   * is not there is none.
   */
  removeExport(name: string): void {
    const isIt = ({ listed }: ServedExport) => listed.name === name;
    const list = [this.#exports, this.#localExports].find((exports) => exports.some(isIt));
    const served = list?.find(isIt);
    if (list === undefined || served === undefined) return;
    const mayGo = list === this.#localExports || this.#added.has(name);
    if (!mayGo || served.uses.now > 0) {
      throw new UserError('IN_USE', `${name} is served as a disk`, {
        hint:
          served.uses.now > 0
            ? 'Disconnect its clients, or stop the server.'
            : 'Stop the server, or have it serve other files alone (--export).',
      });
    }
    list.splice(list.indexOf(served), 1);
    this.#added.delete(name);
  }

  /** Listens at a unix socket. A file that a server left behind is replaced. Errors: see `takeSocketPath`. */
  listenUnix(path: string): Promise<void> {
    return this.#listeners.unix(path);
  }

  /** Listens at a TCP port; the answer has the port that was given. Errors: see `Listeners.tcp`. */
  listenTcp(place: TcpPlace): Promise<TcpPlace> {
    return this.#listeners.tcp(place);
  }

  /** Listens at the sockets that were handed over by socket activation: how many there were. */
  listenInherited(env: NodeJS.ProcessEnv = process.env, pid = process.pid): Promise<number> {
    return this.#listeners.inherited(env, pid);
  }

  /**
   * Serves a connection that was made elsewhere, and is known to come from this machine's own user: without TLS, and
   * however many others there are. Of these there may be as many.
   */
  serveLocal(socket: Socket): void {
    this.#accept(socket, this.#local);
  }

  status(): ServerStatus {
    const connections = [...this.#connections.keys()]
      .map((connection) => connection.status())
      .filter((status): status is ConnectionStatus => status !== null);
    return {
      exports: this.#exports.map((served) => served.status()),
      connections,
      handshakes: this.#outer.handshakes + this.#local.handshakes,
      refused: this.#refused,
      heldBytes: this.#shared.budget.usedBytes,
    };
  }

  /**
   * Ends well: takes no more, lets requests in flight end and answers them, flushes every export, closes. Clients
   * that have not let their requests end after `limitMs` are cut off. Stopping twice is allowed. With `flushes` false what
   * clients have not flushed stays so: whether it becomes durable is for whoever has the devices.
   *
   * @throws DeviceError of the first flush that failed, else what could not be closed first, when all is closed.
   */
  stop(limitMs = STOP_LIMIT_MS, flushes = true): Promise<void> {
    this.#stopped ??= this.#stop(limitMs, flushes);
    return this.#stopped;
  }

  /** Cuts all connections off and flushes nothing; ends when no call to a device is in flight any more. */
  async stopNow(): Promise<void> {
    this.#isStopping = true;
    for (const connection of this.#connections.keys()) connection.hangUp();
    const closing = await Promise.allSettled([this.#listeners.close(), ...this.#connections.values()]);
    this.#shared.buffers.close();
    throwFirst(closing);
  }

  async #stop(limitMs: number, flushes: boolean): Promise<void> {
    this.#isStopping = true;
    const limit = setTimeout(() => {
      for (const connection of this.#connections.keys()) connection.hangUp();
    }, limitMs);
    const stopping = [...this.#connections.keys()].map((connection) => connection.stop());
    const closing = await Promise.allSettled([this.#listeners.close(), ...stopping]);
    const ended = await Promise.allSettled(this.#connections.values());
    clearTimeout(limit);
    this.#shared.buffers.close();
    const changed = this.#all().filter(({ readOnly }) => flushes && !readOnly);
    const flushed = await Promise.allSettled(changed.map(({ device }) => device.flush()));
    // What was answered and is not on disk is worse than what is left of a socket.
    throwFirst([...flushed, ...closing, ...ended]);
  }

  #add(given: Export, exports: ServedExport[]): void {
    const served = new ServedExport(given);
    checkExports([...this.#all(), served]);
    exports.push(served);
  }

  #all(): readonly ServedExport[] {
    return [...this.#exports, ...this.#localExports];
  }

  #hostOf(exports: () => readonly ServedExport[], tls: TlsPolicy | null, handshakeLimitMs: number): Host {
    const isStopping = () => this.#isStopping;
    return {
      tls,
      handshakeLimitMs,
      get exports() {
        return exports();
      },
      get isStopping() {
        return isStopping();
      },
    };
  }

  #accept(socket: Socket, way: Way): void {
    const isFull = way.handshakes >= this.#maxHandshakes || way.connections >= this.#maxConnections;
    if (this.#isStopping || isFull) {
      this.#refused += 1;
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, way.shared);
    way.connections += 1;
    way.handshakes += 1;
    let isInHandshake = true;
    const leaveHandshake = () => {
      if (isInHandshake) way.handshakes -= 1;
      isInHandshake = false;
    };
    const ended = connection.run(leaveHandshake).then(() => {
      leaveHandshake();
      way.connections -= 1;
      this.#connections.delete(connection);
    });
    this.#connections.set(connection, ended);
  }
}

function throwFirst(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function checkExports(exports: readonly ServedExport[]): void {
  const names = exports.map(({ listed }) => listed.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UserError('USAGE', `two exports have the name "${twice}"`, {
      hint: 'Give each a name of its own.',
    });
}
