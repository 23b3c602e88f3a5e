/**
 * The file that a new volume keeps its dirty-stripe record in: made at its full size, with a first record in it that
 * is bound to the volume. So `status` shows it before anything was written, and a file that is lost later is missed.
 *
 * What else a file holds is nobody's to overwrite without `force`. One that was there keeps its length when the volume
 * is not made after all; one that was not is taken away again.
 */
import { readFile, rm, stat, truncate } from 'node:fs/promises';
import type { BlockDevice } from '../device/contract.js';
import { fileError, systemCode } from '../device/device-errors.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { examineImage } from '../raid/md/examine.js';
import type { Superblock } from '../raid/md/model.js';
import { setUuidBytes } from '../raid/md/uuid.js';
import {
  encodeRecord,
  fileBytes,
  filePlaces,
  RECORD_COPIES,
  type RecordContent,
  superblockHash,
} from '../raid/record/index.js';
import { firstContent, makeBlank } from './blank.js';

type Shape = Pick<Superblock, 'memberSizeBytes' | 'chunkBytes'>;

/**
 * The offset of the first byte that is not zero; null: it is blank, or not there. A file that is too short is read to
 * its last byte, as it will have to grow; of a longer one what is behind the last whole sector is never touched.
 */
export async function recordFileContent(path: string, shape: Shape): Promise<number | null> {
  const found = await statOrNull(path);
  if (found === null) return null;
  if (found.isFile() && found.size < fileBytes(shape, RECORD_COPIES)) {
    const bytes = await readFile(path).catch((error: unknown) => {
      throw fileError(path, 'read', error);
    });
    const offset = bytes.findIndex((byte) => byte !== 0);
    return offset < 0 ? null : offset;
  }
  // Who is about to make the volume has it open, and locked.
  const device = await openImage(path, { readOnly: true, lock: false });
  try {
    return await firstContent(device);
  } finally {
    await device.close();
  }
}

export class NewRecordFile {
  private constructor(
    private readonly device: BlockDevice,
    /** Bytes that the file had before, where it had to grow; null: it was not there. */
    private readonly before: { readonly grownFrom: number | undefined } | null,
  ) {}

  /** Opens it with its lock, as long as it has to be, and blank. Throws NOT_BLANK for one that is not, without `force`. */
  static async open(path: string, shape: Shape, force: boolean): Promise<NewRecordFile> {
    const size = fileBytes(shape, RECORD_COPIES);
    if ((await statOrNull(path)) === null)
      return new NewRecordFile(await openImage(path, { readOnly: false, create: { size } }), null);
    const grownFrom = await grow(path, shape, force);
    try {
      return await NewRecordFile.claim(path, size, force, grownFrom);
    } catch (error) {
      if (grownFrom !== undefined) await resize(path, grownFrom);
      throw error;
    }
  }

  /** What it holds is looked at once more, now that the lock is held for good. */
  private static async claim(
    path: string,
    size: number,
    force: boolean,
    grownFrom: number | undefined,
  ): Promise<NewRecordFile> {
    const device = await openImage(path, { readOnly: false });
    try {
      if (device.size < size) throw tooSmall(device, size);
      const offset = await firstContent(device);
      if (offset !== null && !force) throw recordNotBlank(path, offset);
      if (offset !== null) await makeBlank(device);
      return new NewRecordFile(device, { grownFrom });
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /** A clean record that knows the members' superblocks as they are, one a slot. Durable when it returns. */
  async format(members: readonly BlockDevice[]): Promise<void> {
    const examined = await Promise.all(members.map((member) => examineImage(member)));
    const superblocks = examined.map((each) => each.superblocks[0]!);
    const record: RecordContent = {
      generation: 1n,
      follows: 0n,
      isClean: true,
      superblocks: superblocks.map(({ raw }, slot) => ({ slot, hash: superblockHash(raw) })),
      dirty: [],
      inDoubt: [],
    };
    const bytes = encodeRecord(record, setUuidBytes(superblocks[0]!));
    for (const { offset } of filePlaces(this.device, superblocks[0]!, RECORD_COPIES))
      await this.device.write(offset, bytes);
    // Of a file that has grown the length too.
    await this.device.flush();
  }

  /** The volume is not made: as it was before, but for what `force` has let go. */
  async takeBack(): Promise<void> {
    if (this.before === null) return rm(this.device.name, { force: true });
    await makeBlank(this.device);
    if (this.before.grownFrom !== undefined) await resize(this.device.name, this.before.grownFrom);
  }

  close(): Promise<void> {
    return this.device.close();
  }
}

/** Gives the bytes that a file had which was too short; it is open, and so locked, while it grows. */
async function grow(path: string, shape: Shape, force: boolean): Promise<number | undefined> {
  const size = fileBytes(shape, RECORD_COPIES);
  const device = await openImage(path, { readOnly: false });
  try {
    const offset = await recordFileContent(path, shape);
    if (offset !== null && !force) throw recordNotBlank(path, offset);
    const found = await stat(path);
    if (!found.isFile() || found.size >= size) return undefined;
    await resize(path, size);
    return found.size;
  } finally {
    await device.close();
  }
}

async function resize(path: string, size: number): Promise<void> {
  await truncate(path, size).catch((error: unknown) => {
    throw fileError(path, 'resized', error);
  });
}

async function statOrNull(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw fileError(path, 'read', error);
  }
}

export function recordNotBlank(path: string, offsetBytes: number): UserError {
  return new UserError('NOT_BLANK', `${path} is not blank: it holds data at offset ${offsetBytes}`, {
    hint: 'the record of a new volume wants a file of its own: name another with --record; --force --yes overwrites this one, and what it holds is lost',
    details: { image: path, offsetBytes },
  });
}

function tooSmall(device: BlockDevice, neededBytes: number): UserError {
  return new UserError(
    'REFUSED',
    `${device.name} has ${device.size} bytes, ${neededBytes} are needed for the record of this volume`,
    {
      hint: 'name another file with --record, or one that is not there yet',
      details: { image: device.name, offsetBytes: device.size, neededBytes },
    },
  );
}
