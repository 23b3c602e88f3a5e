/**
 * A regular file, or a block device node, as a block device.
 *
 * Invariants
 * - Every byte of a call has moved when it returns, or it fails; calls the kernel cut short are continued.
 * - fua goes through a second descriptor with O_DSYNC, so that a small write (a dirty-stripe record above
 *   all) waits for its own pages and not for all the dirty pages of the file, as fdatasync does.
 * - The second descriptor is opened through /proc/self/fd, so it is the same inode even if the name has
 *   since come to mean another file.
 * - A failed flush and a failed fua write are final (see CallGuard). The kernel tells a writeback error once
 *   per descriptor; flushes ask the descriptor that all plain writes use, so they miss none.
 * - A flush with nothing to flush asks nothing of the disk: no plain write ended since the last fdatasync began.
 *   The first one always does: who had the file open before may have been killed and left dirty pages.
 * - The lock lasts as long as the device is open; so do the descriptors, which no call uses after close.
 */
import fs from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { byteLength } from './buffers.js';
import { CallGuard } from './call-guard.js';
import type { Buffers, DeviceError, Extent, PromptDevice, WriteOptions } from './contract.js';
import { isNoSpace, toDeviceError } from './device-errors.js';
import { type FileCalls, systemCalls } from './file-calls.js';
import { FileHoles } from './file-holes.js';
import { readFully, uninterrupted, writeFully } from './file-transfer.js';
import { createImage, type OpenedImage, openExisting } from './image-open.js';
import { SharedFlush } from './shared-flush.js';

const BLOCK_BYTES = 512;
/** Filesystems allocate in blocks of this size or larger; smaller holes free nothing. */
const HOLE_BYTES = 4096;
const ZEROES = new Uint8Array(1024 * 1024);

export interface ImageFileOptions {
  readonly readOnly: boolean;
  /** Make a new, sparse file of `size` bytes (whole sectors); an existing one is never touched. */
  readonly create?: { readonly size: number };
  /** false: for lookers, who read beside a writer; wants `readOnly`. */
  readonly lock?: boolean;
  /** Where sysfs is mounted. */
  readonly sysfs?: string;
  /** For tests. */
  readonly calls?: FileCalls;
}

/**
 * Whether a failed fua write may have cost more than itself. For want of space it did not: the operating system
 * took nothing that it then dropped, and once there is room the same write can be tried again.
 */
function losesData(error: DeviceError): boolean {
  return !isNoSpace(error);
}

export class ImageFile implements PromptDevice {
  readonly size: number;
  #blockSize = BLOCK_BYTES;
  readonly #handle: FileHandle;
  readonly #calls: FileCalls;
  readonly #holes: FileHoles;
  readonly #guard: CallGuard;
  readonly #flush: SharedFlush;
  /** Something may have been taken that no fdatasync that has begun since covers. */
  #isUnflushed = true;

  private constructor(
    readonly name: string,
    readonly readOnly: boolean,
    { handle, size }: OpenedImage,
    /** null: it is never written. */
    private readonly durable: FileHandle | null,
    calls: FileCalls,
  ) {
    this.size = size - (size % BLOCK_BYTES);
    this.#handle = handle;
    this.#calls = calls;
    this.#holes = new FileHoles(calls, handle.fd, BLOCK_BYTES);
    this.#guard = new CallGuard(this);
    this.#flush = new SharedFlush(() => this.#sync());
  }

  /**
   * Opens the image at `path`, or creates it.
   *
   * @throws DeviceError VOLUME_NOT_FOUND, PERMISSION_DENIED, UNSUPPORTED (a directory, a pipe, ...),
   *   IN_USE (somebody has it open, or it is attached to a loop device), NOT_BLANK (it was to be created and
   *   exists; nothing was changed), NO_SPACE, IO_ERROR.
   */
  static async open(path: string, options: ImageFileOptions): Promise<ImageFile> {
    const { readOnly, create, lock = true, sysfs = '/sys', calls = systemCalls } = options;
    if (!lock && !readOnly) throw new TypeError('an image is never opened for writing without its lock');
    if (create !== undefined && readOnly) throw new TypeError('an image cannot be created read only');
    try {
      const opened =
        create === undefined
          ? await openExisting({ path, readOnly, lock, sysfs })
          : await createImage(path, create.size);
      const durable = readOnly ? null : await openDurable(opened.handle);
      return new ImageFile(path, readOnly, opened, durable, calls);
    } catch (error) {
      throw toDeviceError(error, { device: path, operation: 'open' });
    }
  }

  /** A sector, unless somebody asked for bytes. */
  get blockSize(): number {
    return this.#blockSize;
  }

  /** Takes any range of bytes from now on: for whom there are no sectors to keep whole, the page cache makes them. */
  takeBytes(): void {
    this.#blockSize = 1;
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.#guard.run('read', offset, byteLength(into), () =>
      readFully(this.#calls, this.#handle.fd, offset, into),
    );
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const fua = options.fua === true;
    return this.#guard.run(
      'write',
      offset,
      byteLength(from),
      async () => {
        if (fua) await writeFully(this.#calls, this.durable!.fd, offset, from, true);
        else await this.#unflushed(writeFully(this.#calls, this.#handle.fd, offset, from));
      },
      fua ? losesData : undefined,
    );
  }

  readNow(offset: number, into: Uint8Array): boolean {
    if (!this.#guard.admits('read', offset, into.byteLength)) return false;
    return this.#calls.readNow(this.#handle.fd, [into], offset) === into.byteLength;
  }

  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    if (!this.#guard.admits('write', offset, length)) return false;
    // Before the call: also of one that fails some may have been taken.
    this.#isUnflushed = true;
    try {
      return this.#calls.writeNow(this.#handle.fd, from, offset) === length;
    } catch {
      // The same call is made again by `write`, which tells what the system says then.
      return false;
    }
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    const fua = options.fua === true;
    return this.#guard.run(
      'write-zeroes',
      offset,
      length,
      async () => {
        await this.#unflushed(this.#makeZero(offset, length));
        // Of a hole only the file's metadata can be made durable, and of that only all at once.
        if (fua) await this.#flush.run();
      },
      fua ? losesData : undefined,
    );
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, async () => {
      const start = Math.ceil(offset / HOLE_BYTES) * HOLE_BYTES;
      const end = Math.floor((offset + length) / HOLE_BYTES) * HOLE_BYTES;
      // Where there are no holes the content simply stays: trim is a hint.
      if (start < end) await this.#unflushed(this.#holes.punch(start, end - start));
    });
  }

  flush(): Promise<void> {
    return this.#guard.flush(async () => {
      if (!this.readOnly) await this.#flush.run();
    });
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () => this.#holes.extents(offset, length));
  }

  close(): Promise<void> {
    return this.#guard.close(async () => {
      await this.durable?.close();
      await this.#handle.close();
    });
  }

  async #sync(): Promise<void> {
    // A fua write may have failed since this flush was asked for; asking the kernel again could hide it.
    if (this.#guard.final !== null) throw this.#guard.final;
    if (!this.#isUnflushed) return;
    // Before the call, not after it: what ends while it runs is for the next one.
    this.#isUnflushed = false;
    try {
      await uninterrupted(() => this.#calls.fdatasync(this.#handle.fd));
    } catch (cause) {
      // Before anybody who waited asks again: the kernel has now told its error, and told it once.
      const error = toDeviceError(cause, { device: this.name, operation: 'flush' });
      this.#guard.fail(error);
      throw error;
    }
  }

  /** Also of a change that fails: some of it may have been taken. */
  async #unflushed(change: Promise<unknown>): Promise<void> {
    try {
      await change;
    } finally {
      this.#isUnflushed = true;
    }
  }

  async #makeZero(offset: number, length: number): Promise<void> {
    if (!(await this.#holes.punch(offset, length))) await this.#writeZeroBytes(offset, length);
  }

  async #writeZeroBytes(offset: number, length: number): Promise<void> {
    for (let at = 0; at < length; at += ZEROES.byteLength) {
      const zeroes = ZEROES.subarray(0, Math.min(ZEROES.byteLength, length - at));
      await writeFully(this.#calls, this.#handle.fd, offset + at, zeroes);
    }
  }
}

/**
 * At once, and not with the first fua write: that there is no descriptor left must keep the image from being opened, and
 * is no failure of what it lies on. If it fails the image is closed again.
 */
async function openDurable(handle: FileHandle): Promise<FileHandle> {
  try {
    return await open(`/proc/self/fd/${handle.fd}`, fs.constants.O_RDWR | fs.constants.O_DSYNC);
  } catch (error) {
    await handle.close();
    throw error;
  }
}
