/**
 * The name of a unix socket in the file system: taken without ever taking it from a server that lives, and given
 * back only as long as it is still ours.
 *
 * A socket whose server is gone refuses connections; its file stays. It is moved aside, tried once more there, and
 * removed. The new socket gets a name of its own first and then the one that was asked for by link(2), which
 * fails where there is a file: of two servers that start at the same moment one is told so.
 */
import { randomBytes } from 'node:crypto';
import { link, lstat, rename, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { fileError, systemCode } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';

/** Of sockaddr_un.sun_path, without the NUL behind it (unix(7)). */
const MAX_PATH_BYTES = 107;

/**
 * Listens at `path`; `listen` is called with another path beside it. The answer removes the file again.
 *
 * @throws UserError IN_USE when a server lives there, NOT_BLANK when it is something else than a socket, USAGE when
 *   the path is too long for a socket, PERMISSION_DENIED, NO_SPACE, IO_ERROR.
 */
export async function takeSocketPath(
  path: string,
  listen: (path: string) => Promise<void>,
): Promise<() => Promise<void>> {
  if (path === '') throw new UserError('USAGE', 'the path of a socket cannot be empty');
  const own = nameBeside(path);
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(own)) > MAX_PATH_BYTES)
    throw new UserError('USAGE', `${path}: too long for the path of a socket`, {
      hint: `Use a path of at most ${MAX_PATH_BYTES} bytes.`,
      details: { file: path },
    });
  try {
    await removeStale(path);
    // To listen in a directory that is not there is EACCES to Node: what is really wrong is asked first.
    await stat(dirname(path));
    await listen(own);
    const { ino } = await lstat(own);
    try {
      await link(own, path);
    } finally {
      await rm(own, { force: true });
    }
    return () =>
      removeOwn(path, ino).catch((cause: unknown) => {
        throw fileError(path, 'removed', cause);
      });
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw inUse(path);
    throw fileError(path, 'made', error);
  }
}

async function removeStale(path: string): Promise<void> {
  const found = await unlessGone(lstat(path));
  if (found === null) return;
  if (!found.isSocket())
    throw new UserError('NOT_BLANK', `${path}: is there, and is no socket`, {
      hint: 'Nothing was changed. Use another path.',
      details: { file: path },
    });
  if (await isAlive(path)) throw inUse(path);
  const aside = nameBeside(path);
  // Somebody else may have been faster.
  if ((await unlessGone(rename(path, aside))) === null) return;
  // In between somebody may have put a living one there: it gets its name back.
  if (await isAlive(aside)) {
    await link(aside, path);
    await rm(aside);
    throw inUse(path);
  }
  await rm(aside);
}

/**
 * Short, so that what fits a socket's path has a neighbour that does. Always with its directory: Node takes a path that
 * reads as a number for a port, and ".12345678" is one.
 */
function nameBeside(path: string): string {
  return `${dirname(path)}/.${randomBytes(4).toString('hex')}`;
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      const code = systemCode(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      // EAGAIN: its queue is full, so somebody listens.
      else if (code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

async function removeOwn(path: string, ino: number): Promise<void> {
  const found = await unlessGone(lstat(path));
  if (found?.ino === ino) await rm(path, { force: true });
}

/** Null when there is no such file. */
async function unlessGone<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function inUse(path: string): UserError {
  return new UserError('IN_USE', `${path}: a server listens there`, {
    hint: 'Stop it, or use another path.',
    details: { file: path },
  });
}
