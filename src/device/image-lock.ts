/**
 * The lock that keeps a second process, or a second part of this one, from an image: an OFD lock over the
 * whole file, exclusive for writers, shared for readers. It belongs to the open file description, so it
 * works between two openings in one process and ends with the descriptor, however the process ends. qemu
 * takes OFD locks too and is kept out by it.
 *
 * Loop devices and nbdkit take no locks: see loop-devices.ts for the former.
 */
import fs from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { DeviceError } from './contract.js';
import { toDeviceError } from './device-errors.js';
import { describeHolder, type FileIdentity, findHolder, type Holder } from './file-holder.js';

const WHOLE_FILE = [0, 0] as const;
/** `lockHolder` has the lock for an instant; that must not turn an opener away. */
const TRIES = 5;
const PAUSE_MS = 10;

/**
 * Locks the open file, for as long as `fd` is open.
 *
 * @throws DeviceError IN_USE, naming the process that has it; UNSUPPORTED where the filesystem has no locks.
 */
export async function lockImage(
  path: string,
  fd: number,
  file: FileIdentity,
  exclusive: boolean,
): Promise<void> {
  const { tryLock } = await import('fs-native-extensions');
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    if (takeLock(tryLock, path, fd, exclusive)) return;
    await setTimeout(PAUSE_MS);
  }
  const holder = await findHolder(file, fd);
  throw new DeviceError(
    'IN_USE',
    `${path} is in use by ${describeHolder(holder)}`,
    { device: path, operation: 'open' },
    'Stop that process, or let it do the work.',
  );
}

/**
 * Whether a live process has the image open for writing, and which; null if none has. Keeps no lock.
 *
 * @throws DeviceError when the image cannot be opened.
 */
export async function lockHolder(path: string): Promise<Holder | 'unknown' | null> {
  const { tryLock, unlock } = await import('fs-native-extensions');
  try {
    const file = await stat(path, { bigint: true });
    // Of a pipe, open would wait for its other end; nothing that is no image is ever locked by us.
    if (!file.isFile() && !file.isBlockDevice()) return null;
    const handle = await open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    try {
      const isFree = takeLock(tryLock, path, handle.fd, false);
      if (!isFree) return await findHolder(file, handle.fd);
      unlock(handle.fd, ...WHOLE_FILE);
      return null;
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw toDeviceError(error, { device: path, operation: 'open' });
  }
}

type TryLock = (fd: number, offset: number, length: number, options: { shared: boolean }) => boolean;

function takeLock(tryLock: TryLock, path: string, fd: number, exclusive: boolean): boolean {
  try {
    return tryLock(fd, ...WHOLE_FILE, { shared: !exclusive });
  } catch (cause) {
    throw new DeviceError(
      'UNSUPPORTED',
      `${path} cannot be locked: ${cause instanceof Error ? cause.message : String(cause)}`,
      { device: path, operation: 'open', cause },
      'Put the image on a filesystem that has locks.',
    );
  }
}
