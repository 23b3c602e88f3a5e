/**
 * Opening and creating the file behind an image: what it is, how large, and that nobody else uses it.
 *
 * Invariants
 * - Nothing that is not a regular file or a block device is ever opened (opening a pipe would wait, opening
 *   a terminal or a tape does things).
 * - Creating never touches a file that exists. The new file has its full size, and it and its name are
 *   durable, before it is handed out: from then on a write to it needs no metadata that a crash could take.
 * - A file whose creation failed halfway is removed, but only while we hold its lock.
 */
import fs from 'node:fs';
import { type FileHandle, open, readFile, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DeviceError } from './contract.js';
import { refusal } from './device-errors.js';
import type { FileIdentity } from './file-holder.js';
import { lockImage } from './image-lock.js';
import { loopDeviceOf } from './loop-devices.js';

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NONBLOCK, O_NOCTTY, O_DIRECTORY } = fs.constants;
const SECTOR_BYTES = 512;

export interface OpenedImage {
  readonly handle: FileHandle;
  /** Bytes of the file, which need not be whole sectors. */
  readonly size: number;
}

export interface OpenRequest {
  readonly path: string;
  readonly readOnly: boolean;
  readonly lock: boolean;
  readonly sysfs: string;
}

export async function openExisting({ path, readOnly, lock, sysfs }: OpenRequest): Promise<OpenedImage> {
  const before = await stat(path, { bigint: true });
  refuseOtherKinds(path, before);
  // On a block device O_EXCL asks the kernel whether it is mounted, or part of an array of its own.
  const exclusive = !readOnly && before.isBlockDevice() ? O_EXCL : 0;
  const handle = await open(path, (readOnly ? O_RDONLY : O_RDWR) | exclusive | O_NONBLOCK | O_NOCTTY);
  try {
    const file = await handle.stat({ bigint: true });
    refuseOtherKinds(path, file);
    if (lock) await lockImage(path, handle.fd, file, !readOnly);
    if (!readOnly) await refuseAttached(path, file, sysfs);
    // The size counts from the moment that nobody else can change it.
    return { handle, size: await sizeOf(handle, sysfs) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** @throws an error with code EEXIST when there is a file of that name. */
export async function createImage(path: string, size: number): Promise<OpenedImage> {
  if (!Number.isSafeInteger(size) || size < 0 || size % SECTOR_BYTES !== 0) {
    const fault = { device: path, operation: 'open' as const, length: size };
    throw refusal('OUT_OF_RANGE', `the size of an image is a multiple of ${SECTOR_BYTES} bytes`, fault);
  }
  const handle = await open(path, O_RDWR | O_CREAT | O_EXCL, 0o666);
  let isOurs = false;
  try {
    const file = await handle.stat({ bigint: true });
    await lockImage(path, handle.fd, file, true);
    isOurs = true;
    await handle.truncate(size);
    await handle.sync();
    await syncDirectory(dirname(path));
    return { handle, size };
  } catch (error) {
    // What went wrong first is what the user must hear; an empty file left behind says enough itself.
    if (isOurs) await unlink(path).catch(() => undefined);
    await handle.close();
    throw error;
  }
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, O_RDONLY | O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function refuseOtherKinds(path: string, file: fs.BigIntStats): void {
  if (file.isFile() || file.isBlockDevice()) return;
  const kind = file.isDirectory() ? 'a directory' : 'neither a regular file nor a block device';
  throw new DeviceError(
    'UNSUPPORTED',
    `${path} is ${kind}, not an image`,
    { device: path, operation: 'open' },
    file.isDirectory()
      ? 'Name the images in it; holdfast status looks at the volume of a directory.'
      : undefined,
  );
}

async function refuseAttached(path: string, file: FileIdentity, sysfs: string): Promise<void> {
  const loop = await loopDeviceOf(path, file, sysfs);
  if (loop === null) return;
  throw new DeviceError(
    'IN_USE',
    `${path} is attached to ${loop}`,
    { device: path, operation: 'open' },
    `Unmount what is on it and detach it: losetup --detach ${loop}`,
  );
}

async function sizeOf(handle: FileHandle, sysfs: string): Promise<number> {
  const file = await handle.stat({ bigint: true });
  if (!file.isBlockDevice()) return Number(file.size);
  // stat has no size for these; sysfs counts in sectors of 512 bytes, whatever the disk's blocks are.
  const major = ((file.rdev >> 8n) & 0xfffn) | ((file.rdev >> 32n) & ~0xfffn);
  const minor = (file.rdev & 0xffn) | ((file.rdev >> 12n) & ~0xffn & 0xffffffffn);
  return Number(await readFile(`${sysfs}/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR_BYTES;
}
