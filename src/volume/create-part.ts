/**
 * A file of a new volume beside its images (a record, a metadata image, a journal image): made at its full size, or one
 * that is there and blank.
 *
 * What else a file holds is nobody's to overwrite without `force`. One that was there keeps its length when the volume
 * is not made after all; one that was not is taken away again.
 */
import { readFile, rm, stat, truncate } from 'node:fs/promises';
import type { BlockDevice } from '../device/contract.js';
import { fileError } from '../device/device-errors.js';
import { openImage } from '../device/open-image.js';
import { statOrNull } from '../device/stat-or-null.js';
import { UserError } from '../errors.js';
import { claimBlank, firstContent, makeBlank } from './blank.js';

/** What the file is to be. */
export interface Part {
  readonly path: string;
  /** At least. */
  readonly sizeBytes: number;
  /** With which it was named. */
  readonly flag: '--record' | '--metadata' | '--journal-image';
}

const NAMES = { '--record': 'record', '--metadata': 'metadata', '--journal-image': 'journal' } as const;

/**
 * The offset of the first byte that is not zero; null: it is blank, or not there. A file that is too short is read to
 * its last byte, as it will have to grow; of a longer one what is behind the last whole sector is never touched.
 */
export async function partContent({ path, sizeBytes }: Part): Promise<number | null> {
  const found = await statOrNull(path);
  if (found === null) return null;
  if (found.isFile() && found.size < sizeBytes) {
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

export class NewPart {
  private constructor(
    readonly device: BlockDevice,
    /** Bytes that the file had before, where it had to grow; null: it was not there. */
    private readonly before: { readonly grownFrom: number | undefined } | null,
  ) {}

  /** Opens it with its lock, as long as it has to be, and blank. Throws NOT_BLANK for one that is not, without `force`. */
  static async open(part: Part, force: boolean): Promise<NewPart> {
    const { path, sizeBytes: size } = part;
    if ((await statOrNull(path)) === null)
      return new NewPart(await openImage(path, { readOnly: false, create: { size } }), null);
    const grownFrom = await grow(part, force);
    try {
      return await NewPart.claim(part, force, grownFrom);
    } catch (error) {
      if (grownFrom !== undefined) await resize(path, grownFrom);
      throw error;
    }
  }

  /** What it holds is looked at once more, now that the lock is held for good. */
  private static async claim(part: Part, force: boolean, grownFrom: number | undefined): Promise<NewPart> {
    const device = await openImage(part.path, { readOnly: false });
    try {
      if (device.size < part.sizeBytes) throw tooSmall(device, part);
      await claimBlank(device, force, (offset) => partNotBlank(part, offset));
      return new NewPart(device, { grownFrom });
    } catch (error) {
      await device.close();
      throw error;
    }
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
async function grow(part: Part, force: boolean): Promise<number | undefined> {
  const { path, sizeBytes } = part;
  const device = await openImage(path, { readOnly: false });
  try {
    const offset = await partContent(part);
    if (offset !== null && !force) throw partNotBlank(part, offset);
    const found = await stat(path);
    if (!found.isFile() || found.size >= sizeBytes) return undefined;
    await resize(path, sizeBytes);
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

export function partNotBlank({ path, flag }: Part, offsetBytes: number): UserError {
  return new UserError('NOT_BLANK', `${path} is not blank: it holds data at offset ${offsetBytes}`, {
    hint: `the ${NAMES[flag]} of a new volume wants a file of its own: name another with ${flag}; --force --yes overwrites this one, and what it holds is lost`,
    details: { image: path, offsetBytes },
  });
}

function tooSmall(device: BlockDevice, { flag, sizeBytes: neededBytes }: Part): UserError {
  return new UserError(
    'REFUSED',
    `${device.name} has ${device.size} bytes, ${neededBytes} are needed for the ${NAMES[flag]} of this volume`,
    {
      hint: `name another file with ${flag}, or one that is not there yet`,
      details: { image: device.name, offsetBytes: device.size, neededBytes },
    },
  );
}
