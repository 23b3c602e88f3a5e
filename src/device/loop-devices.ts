/**
 * Whether an image is attached to a loop device. Loop devices take no file locks, so the kernel is asked:
 * the loop device itself where we may open it, which gives the file whatever its name is (in another mount
 * namespace, deleted, linked elsewhere); else sysfs, which gives a name only.
 *
 * Source: drivers/block/loop.c: LOOP_GET_STATUS64 (struct loop_info64 starts with lo_device, lo_inode), and
 * the attribute loop/backing_file, a path as d_path gives it, with " (deleted)" behind it when that name
 * is gone.
 */
import { open, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileIdentity } from './file-holder.js';

const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_INFO64_BYTES = 232;
const DELETED = ' (deleted)';

/** What file a loop device says it has; null when it cannot be asked. */
export type AskLoop = (device: string) => Promise<FileIdentity | null>;

/** "/dev/loop3" when the file is attached to it, else null. `sysfs` is where sysfs is mounted. */
export async function loopDeviceOf(
  path: string,
  file: FileIdentity,
  sysfs = '/sys',
  ask: AskLoop = askLoop,
): Promise<string | null> {
  const resolved = await realpath(path);
  for (const name of await loopNames(sysfs)) {
    const backing = await backingFile(join(sysfs, 'block', name, 'loop', 'backing_file'));
    if (backing === null) continue;
    const device = `/dev/${name}`;
    const attached = await ask(device);
    const isOurs = attached === null ? await isNamed(backing, resolved, file) : isSame(attached, file);
    if (isOurs) return device;
  }
  return null;
}

async function loopNames(sysfs: string): Promise<string[]> {
  try {
    return (await readdir(join(sysfs, 'block'))).filter((name) => name.startsWith('loop'));
  } catch {
    // No sysfs here: then loop devices cannot be made out.
    return [];
  }
}

async function backingFile(attribute: string): Promise<string | null> {
  try {
    return (await readFile(attribute, 'utf8')).replace(/\n$/, '');
  } catch {
    // A loop device with nothing attached has no such attribute.
    return null;
  }
}

async function isNamed(backing: string, resolved: string, file: FileIdentity): Promise<boolean> {
  const found = await stat(backing, { bigint: true }).catch(() => null);
  // What the name means here decides: it may have come to mean another file.
  if (found !== null) return isSame(found, file);
  // A name that is gone is not ours, even if a new file has it: the loop device has the old one.
  return !backing.endsWith(DELETED) && backing === resolved;
}

function isSame(one: FileIdentity, other: FileIdentity): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

/** Wants the right to open the loop device, and koffi, which is optional. */
async function askLoop(device: string): Promise<FileIdentity | null> {
  try {
    const { default: koffi } = await import('koffi');
    const handle = await open(device, 'r');
    try {
      const info = Buffer.alloc(LOOP_INFO64_BYTES);
      const ioctl = koffi.load(null).func('int ioctl(int fd, unsigned long request, void *argument)');
      if (ioctl(handle.fd, LOOP_GET_STATUS64, info) !== 0) return null;
      return { dev: hostWord(info, 0), ino: hostWord(info, 8) };
    } finally {
      await handle.close();
    }
  } catch {
    // Not ours to open, or no koffi: the name in sysfs has to do.
    return null;
  }
}

function hostWord(bytes: Buffer, at: number): bigint {
  return new BigUint64Array(bytes.buffer, bytes.byteOffset + at, 1)[0]!;
}
