/**
 * The other end of the control socket: finds the server of a volume that is in use, has it do an operation, and hands
 * on what it tells.
 */
import { connect, type Socket } from 'node:net';
import { systemCode } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import type { OperationReporting } from './control-server.js';
import { readAnswers, send, thrownFor } from './messages.js';
import { SocketDirectory, type SocketKind } from './places.js';

export type Reporting = Partial<OperationReporting>;

/**
 * Has `use` what it wants of the server that is behind the first socket of this kind; null: nobody serves the volume.
 * `socket` is a connection that `use` has to end, `path` the socket's name, good until `use` is done.
 */
export async function atServer<R>(
  directories: readonly string[],
  kind: SocketKind,
  use: (socket: Socket, path: string) => Promise<R>,
): Promise<R | null> {
  for (const path of directories) {
    const directory = await SocketDirectory.find(path);
    if (directory === null) continue;
    try {
      const socket = await connected(directory.socket(kind));
      if (socket !== null) return await use(socket, directory.socket(kind));
    } finally {
      await directory.close();
    }
  }
  return null;
}

/** A socket file without a server behind it is one that a dead server left: as if there was none. */
function connected(path: string): Promise<Socket | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error) => {
      if (['ENOENT', 'ECONNREFUSED', 'EACCES'].includes(systemCode(error) ?? '')) resolve(null);
      else reject(error);
    });
  });
}

/**
 * Has the server at the other end of `socket` do something; its answer is what the operation results in.
 *
 * @throws what the operation throws there; INTERRUPTED when `signal` was raised; IO_ERROR when the server went away.
 */
export async function askServer(
  socket: Socket,
  operation: string,
  args: Record<string, unknown>,
  { signal, onProgress, warn }: Reporting = {},
): Promise<unknown> {
  const stop = () => socket.end();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    signal?.throwIfAborted();
    send(socket, { holdfast: 1, operation, arguments: args });
    for await (const answer of readAnswers(socket)) {
      if ('progress' in answer) onProgress?.(answer.progress.doneBytes, answer.progress.totalBytes);
      else if ('warning' in answer) warn?.(answer.warning);
      else if ('error' in answer) throw thrownFor(answer.error);
      else return answer.result;
    }
    throw new UserError('IO_ERROR', `${operation}: the server went away before it was done`, {
      hint: 'look at the volume with: holdfast status',
    });
  } finally {
    signal?.removeEventListener('abort', stop);
    socket.destroy();
  }
}
