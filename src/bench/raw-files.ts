/**
 * Plain files, read and written with nothing in between: what an array on as many images is compared with.
 * The bytes are spread over the files in pieces of 1 MiB, so that a request is one system call on one file; the
 * calls are the very ones that images use.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCalls } from '../device/file-calls.js';
import { DeviceTally } from './counting-device.js';

const PIECE_BYTES = 1024 * 1024;

export class RawFiles {
  readonly tally = new DeviceTally();

  private constructor(private readonly handles: readonly FileHandle[]) {}

  /** New files, each with `bytes` (whole MiB) written to it: no later write has to find room on the disk. */
  static async make(directory: string, files: number, bytes: number): Promise<RawFiles> {
    const handles: FileHandle[] = [];
    const raw = new RawFiles(handles);
    const content = new Uint8Array(PIECE_BYTES).fill(0xa5);
    try {
      for (let index = 0; index < files; index++)
        handles.push(await open(join(directory, `raw-${index}`), 'wx+'));
      for (let at = 0; at < bytes * files; at += PIECE_BYTES) await raw.write(at, content);
      await raw.flush();
      return raw;
    } catch (error) {
      await raw.close();
      throw error;
    }
  }

  /** No request spans two pieces. */
  async read(offset: number, into: Uint8Array): Promise<void> {
    this.tally.read(into.length);
    const { fd, position } = this.place(offset);
    complete(await systemCalls.read(fd, [into], position), into);
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    this.tally.write(from.length);
    const { fd, position } = this.place(offset);
    complete(await systemCalls.write(fd, [from], position), from);
  }

  /** All files at once, as an array flushes its members. */
  async flush(): Promise<void> {
    await Promise.all(
      this.handles.map(({ fd }) => {
        this.tally.flush();
        this.tally.fileSync();
        return systemCalls.fdatasync(fd);
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.handles.map((handle) => handle.close()));
  }

  private place(offset: number): { fd: number; position: number } {
    const piece = Math.floor(offset / PIECE_BYTES);
    const row = Math.floor(piece / this.handles.length);
    const { fd } = this.handles[piece % this.handles.length]!;
    return { fd, position: row * PIECE_BYTES + (offset % PIECE_BYTES) };
  }
}

function complete(moved: number, buffer: Uint8Array): void {
  if (moved !== buffer.length) throw new Error(`only ${moved} of ${buffer.length} bytes were moved`);
}
