/**
 * Where a file has data and where it has holes, and making holes. Both depend on the filesystem; that one
 * has none of it is found out once a file and remembered.
 *
 * Source: lseek(2), SEEK_DATA and SEEK_HOLE; fallocate(2), FALLOC_FL_PUNCH_HOLE; statfs(2), f_type.
 */
import { stat, statfs } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import type { Extent } from './contract.js';
import { systemCode } from './device-errors.js';
import { ExtentList } from './extent-list.js';
import type { FileCalls, Seek } from './file-calls.js';
import { uninterrupted } from './file-transfer.js';

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** lseek cannot be called asynchronously (its errno would be lost); others get their turn between these. */
const SEEKS_A_TURN = 64;
const UNSUPPORTED = new Set(['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV']);

/** Filesystems that make holes, by f_type: ext4 (and those before it, by the same driver), XFS, Btrfs, tmpfs. */
const WITH_HOLES = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994]);

/** Whether holes can be made in the file at `path`, as far as that is known without making one. */
export async function isPunchable(path: string): Promise<boolean> {
  // Below a block device lies another disk than the filesystem that has its name.
  return (await stat(path)).isFile() && WITH_HOLES.has((await statfs(path)).type);
}

export class FileHoles {
  #canPunch = true;
  #canSeek = true;

  constructor(
    private readonly calls: FileCalls,
    private readonly fd: number,
    private readonly blockSize: number,
  ) {}

  /** Makes the range a hole that reads as zeroes; false when that cannot be had and nothing was changed. */
  async punch(offset: number, length: number): Promise<boolean> {
    if (!this.#canPunch) return false;
    try {
      await uninterrupted(() => this.calls.punchHole(this.fd, offset, length));
      return true;
    } catch (error) {
      const code = systemCode(error) ?? '';
      // EINVAL is about this range (a disk with larger blocks), not about the filesystem.
      if (code === 'EINVAL') return false;
      if (!UNSUPPORTED.has(code)) throw error;
      this.#canPunch = false;
      return false;
    }
  }

  /** The range (whole blocks) as data and holes; all data where the filesystem cannot tell. */
  async extents(offset: number, length: number): Promise<Extent[]> {
    const list = new ExtentList();
    const end = offset + length;
    const seek = this.#canSeek ? await this.calls.loadSeek() : null;
    let at = offset;
    for (let turn = 1; seek !== null && this.#canSeek && at < end; turn++) {
      const dataStart = Math.min(this.#nextData(seek, at, end), end);
      list.add(at, dataStart - at, 'hole');
      if (dataStart === end) return list.list();
      const dataEnd = Math.min(this.#nextHole(seek, dataStart, end), end);
      list.add(dataStart, dataEnd - dataStart, 'data');
      at = dataEnd;
      if (turn % SEEKS_A_TURN === 0) await setImmediate();
    }
    list.add(at, end - at, 'data');
    return list.list();
  }

  /** The first block from `at` on that has data, or `end`. */
  #nextData(seek: Seek, at: number, end: number): number {
    const found = seek(this.fd, at, SEEK_DATA);
    if (typeof found === 'number') return Math.max(at, found - (found % this.blockSize));
    if (found === 'ENXIO') return end;
    this.#noteUnsupported(found);
    return at;
  }

  /** The end of the data at `at`: of a block that is data in part, all counts as data. */
  #nextHole(seek: Seek, at: number, end: number): number {
    const found = this.#canSeek ? seek(this.fd, at, SEEK_HOLE) : end;
    if (typeof found === 'number') {
      const whole = Math.ceil(found / this.blockSize) * this.blockSize;
      // A hole made by somebody else between the two calls; the block counts as data, and the loop moves on.
      return Math.max(whole, at + this.blockSize);
    }
    // The file became shorter between the two calls: that is for the next read to report.
    if (found === 'ENXIO') return end;
    this.#noteUnsupported(found);
    return end;
  }

  #noteUnsupported(code: string): void {
    if (code !== 'EINVAL' && !UNSUPPORTED.has(code)) {
      throw Object.assign(new Error(`lseek for data and holes: ${code}`), { code });
    }
    this.#canSeek = false;
  }
}
