/**
 * Where a served volume can be reached by the commands of its own machine: two sockets in what belongs to the volume,
 * its directory, or IMAGE.holdfast/ beside an image.
 *
 * A socket's name has at most 107 bytes (unix(7)), and a volume may lie deep: so its directory is held open, and
 * sockets are named through that.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { fileError, systemCode } from '../../device/device-errors.js';
import type { Located } from '../locate.js';
import { isRemote } from '../remote.js';

/** `control`: what commands ask the server to do (messages.ts). `data`: the volume's bytes, over NBD. */
export type SocketKind = 'control' | 'data';

/** Where a server of the volume puts its sockets first, then where else they may be: images have no order. */
export function controlDirectories({ directory, images }: Pick<Located, 'directory' | 'images'>): string[] {
  if (directory !== null) return [directory];
  return images.filter((image) => !isRemote(image)).map((image) => `${image}.holdfast`);
}

export class SocketDirectory {
  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
  ) {}

  /** Makes it where it is not there. @throws DeviceError PERMISSION_DENIED, NO_SPACE, ... */
  static async make(path: string): Promise<SocketDirectory> {
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      return new SocketDirectory(path, await open(path));
    } catch (error) {
      throw fileError(path, 'made', error);
    }
  }

  /** null where there is none. */
  static async find(path: string): Promise<SocketDirectory | null> {
    try {
      return new SocketDirectory(path, await open(path));
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCode(error) ?? '')) return null;
      throw fileError(path, 'opened', error);
    }
  }

  /** Short, and good as long as this is open. */
  socket(kind: SocketKind): string {
    return `/proc/self/fd/${this.handle.fd}/${kind}.socket`;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
