/**
 * Where a server can be reached: unix sockets, TCP ports, and sockets that were opened before it started (systemd's
 * socket activation, sd_listen_fds(3)).
 */

import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { allEnded } from '../../device/all-ended.js';
import { systemCode } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import { receivingDirectly } from '../wire/direct-socket.js';
import { widenSendRoom } from '../wire/send-room.js';
import { takeSocketPath } from './unix-socket.js';

/** The first descriptor that is handed over. */
const FIRST_INHERITED_FD = 3;

/** How many sockets `env` says were handed to the process `pid`; 0 for what is no number of them. */
export function inheritedSockets(env: NodeJS.ProcessEnv, pid: number): number {
  if (env.LISTEN_PID !== String(pid)) return 0;
  return /^\d{1,6}$/.test(env.LISTEN_FDS ?? '') ? Number(env.LISTEN_FDS) : 0;
}

export interface TcpPlace {
  /** A name or an address to listen at. */
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

export class Listeners {
  readonly #servers: Server[] = [];
  readonly #removals: (() => Promise<void>)[] = [];

  constructor(private readonly onConnection: (socket: Socket) => void) {}

  /** @throws UserError as `takeSocketPath`. */
  async unix(path: string): Promise<void> {
    this.#removals.push(await takeSocketPath(path, (own) => this.#listen({ path: own })));
  }

  /**
   * Where it listens, with the port that it was given.
   *
   * @throws UserError IN_USE, PERMISSION_DENIED, USAGE (no such address here).
   */
  async tcp({ host, port }: TcpPlace): Promise<TcpPlace> {
    try {
      await this.#listen({ host, port });
    } catch (cause) {
      throw unreachable(`${host} port ${port}`, cause);
    }
    const { port: given } = this.#servers.at(-1)!.address() as AddressInfo;
    return { host, port: given };
  }

  /**
   * The sockets that `env` says were handed to the process `pid`: how many. The variables are taken out of it, so
   * that no child takes them for its own.
   *
   * @throws UserError when one of them is no socket that listens.
   */
  async inherited(env: NodeJS.ProcessEnv, pid: number): Promise<number> {
    const count = inheritedSockets(env, pid);
    for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
    for (let fd = FIRST_INHERITED_FD; fd < FIRST_INHERITED_FD + count; fd++) {
      try {
        await this.#listen({ fd });
      } catch (cause) {
        throw unreachable(`descriptor ${fd}`, cause);
      }
    }
    return count;
  }

  /** Takes no more connections; those that are there stay. @throws the first failure, when all are closed. */
  async close(): Promise<void> {
    for (const server of this.#servers.splice(0)) server.close();
    await allEnded(this.#removals.splice(0).map((remove) => remove()));
  }

  async #listen(where: ListenOptions & { readonly fd?: number }): Promise<void> {
    // A client that has said all it will say still gets its answers; small replies are not held back.
    const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true });
    server.on('connection', (accepted) => {
      const socket = receivingDirectly(accepted);
      void widenSendRoom(socket);
      this.onConnection(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, () => {
        server.off('error', reject);
        resolve();
      });
    });
    this.#servers.push(server);
  }
}

function unreachable(where: string, cause: unknown): unknown {
  const system = systemCode(cause);
  if (system === undefined || !(cause instanceof Error)) return cause;
  const code = system === 'EADDRINUSE' ? 'IN_USE' : system === 'EACCES' ? 'PERMISSION_DENIED' : 'USAGE';
  return new UserError(code, `${where}: cannot listen there: ${cause.message}`, {
    hint: code === 'IN_USE' ? 'Stop who listens there, or use another port.' : 'Use another address.',
    cause,
  });
}
