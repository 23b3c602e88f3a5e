/**
 * A backup as a plain image: a new file, or an export of an NBD server.
 *
 * - A file has another name while it is made (`PATH.incomplete`), and its own when all of it is durable: what has the name is a
 *   backup. What an earlier process has left is made anew; what ends otherwise is taken away.
 * - An export has no name to keep back. The first of its bytes are written last, when all others are durable: before that there
 *   is no superblock, no partition table and no header, and nobody takes it for a disk.
 */
import { rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { allEnded } from '../../device/all-ended.js';
import type { BlockDevice } from '../../device/contract.js';
import { fileError } from '../../device/device-errors.js';
import { EarlyFlushes } from '../../device/early-flushes.js';
import { syncDirectory } from '../../device/image-open.js';
import { openImage } from '../../device/open-image.js';
import { statOrNull } from '../../device/stat-or-null.js';
import { isZero } from '../../device/zeroes.js';
import { UserError } from '../../errors.js';
import type { BackupTarget } from '../../snapshot/backup/target.js';
import { claimBlank } from '../blank.js';
import { isRemote } from '../remote.js';
import { assertFolder } from './assert-folder.js';

export interface ImageTargetOptions {
  readonly sizeBytes: number;
  /** What is there is replaced, when the backup is good. */
  readonly force: boolean;
  /** Gives up what is being opened, also where nobody answers. */
  readonly signal: AbortSignal;
}

/** Throws FILE_EXISTS, NOT_BLANK, REFUSED (too small), and what opening throws. */
export function openImageTarget(to: string, options: ImageTargetOptions): Promise<BackupTarget> {
  return isRemote(to) ? ExportTarget.open(to, options) : FileTarget.open(to, options);
}

/** Zeroes are left out: what was not written reads so. */
const SPARSE_BYTES = 64 * 1024;

class FileTarget implements BackupTarget {
  #isAbandoned = false;
  #naming: Promise<void> | null = null;
  readonly #early: EarlyFlushes;

  private constructor(
    readonly name: string,
    private readonly made: string,
    private readonly device: BlockDevice,
  ) {
    this.#early = new EarlyFlushes(device);
  }

  static async open(path: string, { sizeBytes, force }: ImageTargetOptions): Promise<BackupTarget> {
    const found = await statOrNull(path);
    if (found !== null && !found.isFile())
      throw new UserError('REFUSED', `${path} is no regular file`, { details: { image: path } });
    if (found !== null && !force) {
      throw new UserError('FILE_EXISTS', `${path} is there already`, {
        hint: 'Choose another name, or replace it: --force.',
        details: { image: path },
      });
    }
    const made = `${path}.incomplete`;
    await assertFolder(path);
    await removeLeft(made);
    return new FileTarget(
      path,
      made,
      await openImage(made, { readOnly: false, create: { size: sizeBytes } }),
    );
  }

  async put(offset: number, content: Uint8Array): Promise<void> {
    await putSparse(this.device, offset, content);
    this.#early.wrote(content.length);
  }

  /** So it is in a new file. */
  async zero(): Promise<void> {}

  async finish(): Promise<void> {
    await this.device.flush();
    if (this.#isAbandoned) throw new Error(`${this.made} was abandoned`);
    this.#naming = this.#giveName();
    await this.#naming;
    // Not before: its lock keeps the next one of this name from taking it away.
    await this.device.close();
  }

  async abandon(): Promise<boolean> {
    this.#isAbandoned = true;
    const hasName = await this.#naming?.then(
      () => true,
      () => false,
    );
    if (hasName === true) return false;
    await rm(this.made, { force: true });
    await this.#early.end();
    await this.device.close();
    return true;
  }

  async #giveName(): Promise<void> {
    try {
      await rename(this.made, this.name);
    } catch (error) {
      throw fileError(this.name, 'renamed', error);
    }
    await syncDirectory(dirname(this.name));
  }
}

/** What a process has left that was killed; one that is at work has it locked. Throws IN_USE. */
async function removeLeft(made: string): Promise<void> {
  if ((await statOrNull(made)) === null) return;
  const left = await openImage(made, { readOnly: false });
  try {
    await rm(made, { force: true });
  } finally {
    await left.close();
  }
}

const LAST_WRITES_MS = 2000;
/** Held back, so that what is not whole is no disk. */
const HEAD_BYTES = 1024 * 1024;

class ExportTarget implements BackupTarget {
  readonly #head: { readonly offset: number; readonly content: Uint8Array }[] = [];
  #isAbandoned = false;
  #heading: Promise<void> | null = null;

  private constructor(
    readonly name: string,
    private readonly device: BlockDevice & { closeSoon(): Promise<void> },
  ) {}

  static async open(uri: string, { sizeBytes, force, signal }: ImageTargetOptions): Promise<BackupTarget> {
    const { NbdDevice } = await import('../../nbd/client/nbd-device.js');
    signal.throwIfAborted();
    const opening = NbdDevice.open(uri, { readOnly: false, reconnect: { tries: 0 }, signal });
    const device = await opening.catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
    const giveUp = () => void device.closeSoon(0).catch(() => undefined);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      if (device.size < sizeBytes) {
        throw new UserError(
          'REFUSED',
          `${device.name} has ${device.size} bytes: the volume has ${sizeBytes}`,
          {
            details: { image: device.name, sizeBytes: device.size },
          },
        );
      }
      await claimBlank(device, force, (offset) => notBlank(device.name, offset));
      return new ExportTarget(device.name, device);
    } catch (error) {
      await device.closeSoon();
      // What it was asked then failed because of that.
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  async put(offset: number, content: Uint8Array): Promise<void> {
    if (offset < HEAD_BYTES) this.#head.push({ offset, content: content.slice() });
    else await putSparse(this.device, offset, content);
  }

  /** So it is in what was blank. */
  async zero(): Promise<void> {}

  async finish(): Promise<void> {
    await this.device.flush();
    if (this.#isAbandoned) throw new Error(`${this.name} was abandoned`);
    this.#heading = this.#writeHead();
    await this.#heading;
    await this.device.close();
  }

  /** Its server may be gone, or silent: what it is at is given two seconds. */
  async abandon(): Promise<boolean> {
    this.#isAbandoned = true;
    const isWhole = this.#heading?.then(
      () => true,
      () => false,
    );
    // It is nearly there: half a head would be neither a backup nor none.
    if (
      isWhole !== undefined &&
      (await Promise.race([isWhole, wait(LAST_WRITES_MS, false, { ref: false })])) === true
    )
      return false;
    await this.device.closeSoon();
    return true;
  }

  async #writeHead(): Promise<void> {
    for (const { offset, content } of this.#head) await this.device.write(offset, content);
    await this.device.flush();
  }
}

function notBlank(image: string, offsetBytes: number): UserError {
  return new UserError('NOT_BLANK', `${image} is not blank: there is something at offset ${offsetBytes}`, {
    hint: 'Overwrite it: --force.',
    details: { image, offsetBytes },
  });
}

/** What holds nothing but zeroes is left out, piece by piece; what follows one another is one write. */
async function putSparse(device: BlockDevice, offset: number, content: Uint8Array): Promise<void> {
  const writes: Promise<void>[] = [];
  for (let at = 0; at < content.length; ) {
    let end = at;
    while (end < content.length && !isZero(content.subarray(end, end + SPARSE_BYTES))) end += SPARSE_BYTES;
    if (end > at) writes.push(device.write(offset + at, content.subarray(at, end)));
    at = end + SPARSE_BYTES;
  }
  await allEnded(writes);
}
