/**
 * The system calls that an image file is made of, as promises. They are an interface so that tests can put
 * short transfers, interrupted calls and full disks in their place; nothing else replaces them.
 *
 * Callbacks of node:fs on bare descriptors cost less than FileHandle, and a descriptor can be locked.
 */
import fs from 'node:fs';
import { promisify } from 'node:util';
import { bindC } from './c-library.js';
import { PromptReads } from './prompt-reads.js';
import { PromptWrites } from './prompt-writes.js';

/** lseek(2): the offset reached, or the name of the error. */
export type Seek = (fd: number, offset: number, whence: number) => number | string;

export interface FileCalls {
  /** Bytes read, 0 at the end of the file; may be fewer than there is room for. */
  read(fd: number, buffers: readonly Uint8Array[], position: number): Promise<number>;
  /** Bytes written; may be fewer than given. `waits`: the descriptor has O_DSYNC, and each write waits for the disk. */
  write(fd: number, buffers: readonly Uint8Array[], position: number, waits?: boolean): Promise<number>;
  /** `read` where it need not wait, done when it returns; null: it would have to, or something is wrong. */
  readNow(fd: number, buffers: readonly Uint8Array[], position: number): number | null;
  /** `write` likewise, of what waits for no disk; throws what the system says. */
  writeNow(fd: number, buffers: readonly Uint8Array[], position: number): number | null;
  fdatasync(fd: number): Promise<void>;
  /** Deallocates the range, which reads as zeroes afterwards. */
  punchHole(fd: number, offset: number, length: number): Promise<void>;
  /** null where lseek cannot be called. */
  loadSeek(): Promise<Seek | null>;
}

/** How a callback of node:fs settles a promise. */
function settle(resolve: (bytes: number) => void, reject: (error: Error) => void) {
  return (error: NodeJS.ErrnoException | null, bytes: number) =>
    error === null ? resolve(bytes) : reject(error);
}

function writeInPool(fd: number, buffers: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = settle(resolve, reject);
    const only = buffers[0];
    if (buffers.length === 1 && only !== undefined) fs.write(fd, only, 0, only.byteLength, position, done);
    else fs.writev(fd, buffers, position, done);
  });
}

const promptReads = new PromptReads();
const promptWrites = new PromptWrites();

export const systemCalls: FileCalls = {
  read(fd, buffers, position) {
    const prompt = promptReads.read(fd, buffers, position);
    if (prompt !== null) return Promise.resolve(prompt);
    return new Promise((resolve, reject) => {
      const done = settle(resolve, reject);
      const only = buffers[0];
      if (buffers.length === 1 && only !== undefined) fs.read(fd, only, 0, only.byteLength, position, done);
      else fs.readv(fd, buffers, position, done);
    });
  },
  async write(fd, buffers, position, waits = false) {
    const prompt = waits ? null : promptWrites.write(fd, buffers, position);
    return prompt ?? writeInPool(fd, buffers, position);
  },
  readNow: (fd, buffers, position) => promptReads.read(fd, buffers, position),
  writeNow: (fd, buffers, position) => promptWrites.write(fd, buffers, position),
  fdatasync: promisify(fs.fdatasync),
  async punchHole(fd, offset, length) {
    const { trim } = await import('fs-native-extensions');
    await trim(fd, offset, length);
  },
  loadSeek,
};

let seek: Promise<Seek | null> | null = null;

/** Without it a file is taken to be all data. */
function loadSeek(): Promise<Seek | null> {
  seek ??= bindC((koffi) => {
    const lseek = koffi.load(null).func('int64_t lseek(int fd, int64_t offset, int whence)');
    const names = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));
    return (fd, offset, whence) => {
      const reached = Number(lseek(fd, offset, whence));
      return reached >= 0 ? reached : (names.get(koffi.errno()) ?? 'EIO');
    };
  });
  return seek;
}
