/**
 * Puts back what an undo file has kept.
 *
 * Order: first all that lies outside the data areas (superblocks, bitmaps, logs, records), on all images, flushed;
 * then the data areas. What an array's metadata said before the repair holds for the data before it and after it, and
 * for any mix of the two: a repair only makes right what that metadata called wrong. So a cut amid the second part
 * leaves what the array was; a cut amid the first leaves members whose superblocks are some events behind. In
 * both cases the same revert, made again, ends it: what is put back does not depend on what is there.
 */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type BlockDevice, DeviceError } from '../../device/contract.js';
import { fileError } from '../../device/device-errors.js';
import { systemCalls } from '../../device/file-calls.js';
import { readFully } from '../../device/file-transfer.js';
import { UserError } from '../../errors.js';
import { type ExaminedImage, SECTOR_BYTES } from '../../raid/md/model.js';
import type { KeptImage, KeptStretch, UndoContent } from './read-undo.js';
import { hashOf } from './undo-entries.js';

export interface RevertOptions {
  /** Though images have been changed since, or part of the file is damaged. */
  readonly force: boolean;
}

export interface Reverted {
  readonly images: readonly string[];
  readonly restoredBytes: number;
}

/** Throws REFUSED for a file that is of another volume, or damaged where it counts. */
export function assertRevertable(
  undo: UndoContent,
  volumeUuids: ReadonlySet<string>,
  { force }: RevertOptions,
): void {
  const { path, header, damagedAt } = undo;
  if (volumeUuids.size > 0 && !volumeUuids.has(header.volumeUuid)) {
    throw new UserError(
      'REFUSED',
      `${path} is the undo file of another volume: of ${header.volumeUuid}, and this is ${[...volumeUuids].join(', ')}`,
      { hint: 'name the volume that it was made for', details: { file: path, uuid: header.volumeUuid } },
    );
  }
  if (damagedAt === null || force) return;
  throw new UserError(
    'REFUSED',
    `${path} is damaged at byte ${damagedAt}: what was kept behind that is not known, and the rest alone would make a mix of two states`,
    {
      hint: 'bring the file back as it was; --force puts back what is whole before the damage',
      details: { file: path, offsetBytes: damagedAt },
    },
  );
}

/**
 * Which of the images each kept one is, in their order. Throws REFUSED for one that is not there, or that somebody
 * has changed since.
 */
export async function matchImages(
  undo: UndoContent,
  candidates: readonly ExaminedImage[],
  options: RevertOptions,
): Promise<ExaminedImage[]> {
  const matched: ExaminedImage[] = [];
  for (const kept of undo.images) {
    const free = candidates.filter((candidate) => !matched.includes(candidate));
    matched.push(await matchImage(undo, kept, free, options));
  }
  return matched;
}

async function matchImage(
  undo: UndoContent,
  kept: KeptImage,
  candidates: readonly ExaminedImage[],
  { force }: RevertOptions,
): Promise<ExaminedImage> {
  const { facts } = kept;
  const fitting = candidates.filter(({ device }) => device.size === facts.sizeBytes);
  const isNamed = ({ image }: ExaminedImage): boolean => resolve(image) === resolve(facts.path);
  const unchanged: ExaminedImage[] = [];
  for (const candidate of fitting) {
    if (
      facts.superOffset === null
        ? isNamed(candidate)
        : kept.hashes.has(await hashAt(candidate, facts.superOffset))
    )
      unchanged.push(candidate);
  }
  const [only, ...copies] = unchanged;
  if (only !== undefined && copies.length === 0) return only;
  if (only !== undefined) {
    const named = unchanged.find(isNamed);
    if (named !== undefined) return named;
    throw refused(
      undo,
      `${unchanged.map(({ image }) => image).join(' and ')} are the same: which of them is ${facts.path}?`,
      'take the copies away',
    );
  }
  const likely = fitting.find((each) => isOf(each, facts.deviceUuid)) ?? fitting.find(isNamed);
  if (likely === undefined) {
    throw refused(
      undo,
      `${facts.path} (${facts.sizeBytes} bytes) is not among the images of the volume`,
      'bring it back: nothing was changed',
    );
  }
  if (force) return likely;
  throw refused(
    undo,
    `${likely.image} was changed since the repair by something else than fsck: its superblock is none of those that the repair left`,
    'what was written since would be mixed with what was before; --force does it all the same',
  );
}

function isOf({ superblocks }: ExaminedImage, deviceUuid: string): boolean {
  return deviceUuid !== '' && superblocks.some((superblock) => superblock.deviceUuid === deviceUuid);
}

/** A sector that cannot be read has no hash that anybody knows. */
async function hashAt({ device }: ExaminedImage, offset: number): Promise<string> {
  const sector = new Uint8Array(SECTOR_BYTES);
  try {
    await device.read(offset, sector);
  } catch (error) {
    if (!(error instanceof DeviceError) || error.code !== 'IO_ERROR') throw error;
    return '';
  }
  return hashOf(sector);
}

function refused({ path }: UndoContent, what: string, hint: string): UserError {
  return new UserError('REFUSED', `${path} cannot be put back: ${what}`, { hint, details: { file: path } });
}

/** `devices` are the images of the undo file, in its order, open for writing. Durable when it returns. */
export async function applyUndo(undo: UndoContent, devices: readonly BlockDevice[]): Promise<Reverted> {
  const file = await open(undo.path, 'r').catch((error: unknown) => {
    throw fileError(undo.path, 'read', error);
  });
  try {
    const isData = ({ image, offset }: KeptStretch): boolean => {
      const { dataOffset, dataBytes } = undo.images[image]!.facts;
      return dataOffset <= offset && offset < dataOffset + dataBytes;
    };
    const newestFirst = [...undo.stretches].reverse();
    for (const part of [newestFirst.filter((each) => !isData(each)), newestFirst.filter(isData)]) {
      for (const stretch of part) {
        const old = await contentOf(undo.path, file.fd, stretch);
        const device = devices[stretch.image]!;
        if (old === null) await device.writeZeroes(stretch.offset, stretch.length);
        else await device.write(stretch.offset, old);
      }
      await Promise.all(devices.map((device) => device.flush()));
    }
  } finally {
    await file.close();
  }
  const restoredBytes = undo.stretches.reduce((sum, { length }) => sum + length, 0);
  return { images: devices.map((device) => device.name), restoredBytes };
}

/** null: it was all zeroes. */
async function contentOf(path: string, fd: number, stretch: KeptStretch): Promise<Uint8Array | null> {
  if (stretch.payloadAt === null) return null;
  const bytes = new Uint8Array(stretch.length);
  await readFully(systemCalls, fd, stretch.payloadAt, bytes).catch((error: unknown) => {
    throw fileError(path, 'read', error);
  });
  return bytes;
}
