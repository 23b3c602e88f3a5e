/**
 * From a target to a connection in the transmission phase, within a time.
 *
 * Invariant: whatever goes wrong, no socket is left behind.
 */
import net, { type Socket } from 'node:net';
import { ProtocolError } from '../protocol/protocol-error.js';
import { widenSendRoom } from '../wire/send-room.js';
import { ConnectionEnded } from '../wire/socket-reader.js';
import { cannotConnect, lost, refusedBy } from './client-errors.js';
import { NbdConnection } from './connection.js';
import {
  type ExtensionFirst,
  type ExtensionReply,
  type ExtensionRequest,
  inquire,
  negotiate,
} from './handshake.js';
import type { TlsCredentials } from './tls.js';
import { addressText, type NbdTarget } from './uri.js';

export interface ReachOptions {
  readonly credentials: TlsCredentials;
  /** For all of it: the connection, TLS, the handshake. */
  readonly timeoutMs: number;
  /** Gives up at once. */
  readonly signal: AbortSignal;
}

export interface ConnectOptions extends ReachOptions {
  /** See NbdConnection. */
  readonly answerTimeoutMs: number;
  /** An option of holdfast's own that comes before the export is chosen. */
  readonly first?: ExtensionFirst | undefined;
}

/**
 * @throws ConnectionLost where another try may help; UserError where the server has said no (an unknown export,
 *   TLS that is missing or fails, what is no NBD server).
 */
export function connectTo(target: NbdTarget, options: ConnectOptions): Promise<NbdConnection> {
  const { credentials, answerTimeoutMs, first = null } = options;
  return reach(target, options, async (socket) => {
    void widenSendRoom(socket);
    const negotiated = await negotiate(socket, target, credentials, first);
    return new NbdConnection(negotiated, target, answerTimeoutMs);
  });
}

/** Asks an export one thing, on a connection that ends with the answer. @throws as `connectTo`. */
export function ask(
  target: NbdTarget,
  request: ExtensionRequest,
  options: ReachOptions,
): Promise<ExtensionReply> {
  return reach(target, options, (socket) => inquire(socket, target, options.credentials, request));
}

async function reach<T>(
  target: NbdTarget,
  { timeoutMs, signal }: ReachOptions,
  use: (socket: Socket) => Promise<T>,
): Promise<T> {
  let reason: Error | null = null;
  const socket = open(target);
  const giveUp = (why: string) => {
    reason ??= lost(target, why);
    socket.destroy();
  };
  const where = addressText(target.address);
  const timer = setTimeout(() => giveUp(`${where} has not answered within ${timeoutMs} ms`), timeoutMs);
  const aborted = () => giveUp('it is closed');
  signal.addEventListener('abort', aborted);
  try {
    if (signal.aborted) aborted();
    await connected(socket, target);
    return await use(socket);
  } catch (error) {
    socket.destroy();
    throw reason ?? told(target, error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', aborted);
  }
}

function open({ address }: NbdTarget): Socket {
  // proto.md, "Protocol phases": without Nagle's delay. Who waits for the far end asks for a sign of life.
  const socket =
    address.kind === 'unix'
      ? net.connect({ path: address.path })
      : net.connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
  // Whoever uses the socket hears of an error by its close; between two users there must be a listener all the same.
  return socket.on('error', () => undefined);
}

function connected(socket: Socket, target: NbdTarget): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) => reject(cannotConnect(target, error)));
    socket.once('close', () => reject(lost(target, 'the connection ended before it was made')));
  });
}

function told(target: NbdTarget, error: unknown): unknown {
  if (error instanceof ConnectionEnded) return lost(target, `in the handshake ${error.message}`, error);
  if (error instanceof ProtocolError) {
    return refusedBy(
      target,
      'UNSUPPORTED',
      `what answers is no NBD server that can be spoken to (${error.message})`,
    );
  }
  return error;
}
