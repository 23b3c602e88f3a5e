/**
 * The two copies of a superblock on a device: at its beginning, and in its last whole 4096 bytes. Either one is enough;
 * of two that are good the one with the higher generation counts, and the other is to be what it is.
 *
 * Invariants
 * - The copies are written one after the other, each durable before the next: a cut leaves one whole.
 */
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { UncheckedBytes } from '../../structure.js';
import { SUPERBLOCK_BYTES } from './fields.js';
import {
  type DecodedSuperblock,
  decodeSuperblock,
  type ExtentsSuperblock,
  encodeSuperblock,
  secondCopyOffset,
} from './superblock.js';

/** One copy, as it was found. */
export interface SuperblockCopy {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
  readonly decoded: DecodedSuperblock;
}

export interface FoundSuperblock {
  readonly superblock: ExtentsSuperblock;
  /** As it was read: what is not known here is in it too. */
  readonly bytes: Uint8Array;
  /** Bits of ro_compat that are not known here: it may be read, and who writes would break it. */
  readonly roCompat: number;
  /** Copies that are to be what the good one is. */
  readonly damaged: readonly { readonly offsetBytes: number; readonly why: string }[];
}

/** Both copies, whatever they are. A copy that cannot be read is as good as one that is damaged. */
export async function readCopies(device: BlockDevice): Promise<SuperblockCopy[]> {
  if (device.size < 2 * SUPERBLOCK_BYTES) return [];
  const first = await readCopy(device, 0);
  // A device that has grown since has it where its end was.
  const deviceBytes = 'good' in first.decoded ? first.decoded.good.deviceBytes : device.size;
  const second = secondCopyOffset(Math.min(deviceBytes, device.size));
  return second > 0 ? [first, await readCopy(device, second)] : [first];
}

async function readCopy(device: BlockDevice, offsetBytes: number): Promise<SuperblockCopy> {
  const bytes = new Uint8Array(SUPERBLOCK_BYTES);
  try {
    await device.read(offsetBytes, bytes);
  } catch (error) {
    // The other copy may be had; who finds none tells of both.
    if (!(error instanceof UserError)) throw error;
    return { offsetBytes, bytes, decoded: { bad: `it cannot be read: ${error.message}`, hasMagic: true } };
  }
  const decoded = decodeSuperblock(new UncheckedBytes(bytes, offsetBytes));
  return { offsetBytes, bytes, decoded: misplaced(decoded, offsetBytes) ?? decoded };
}

/** What somebody has copied elsewhere is no copy of this device. */
function misplaced(decoded: DecodedSuperblock, offsetBytes: number): DecodedSuperblock | null {
  if (!('good' in decoded) || offsetBytes === 0) return null;
  if (secondCopyOffset(decoded.good.deviceBytes) === offsetBytes) return null;
  return { bad: `it belongs to a device of ${decoded.good.deviceBytes} bytes`, hasMagic: true };
}

/**
 * The superblock that counts; null: nothing on the device says that it has one. Throws METADATA_DAMAGED where it
 * has, and neither copy is good, or they are of two volumes; UNSUPPORTED for a later one; DATA_UNAVAILABLE for a
 * device that was cut short.
 */
export async function findSuperblock(device: BlockDevice): Promise<FoundSuperblock | null> {
  return judgeCopies(device, await readCopies(device));
}

export function judgeCopies(device: BlockDevice, copies: readonly SuperblockCopy[]): FoundSuperblock | null {
  const later = copies.find(({ decoded }) => 'later' in decoded);
  if (later !== undefined) throw fromLater(device, later);
  const good = copies.flatMap(({ bytes, decoded }) => ('good' in decoded ? [{ bytes, ...decoded }] : []));
  const newest = good.reduce<(typeof good)[number] | null>(
    (best, one) => (best === null || one.good.generation > best.good.generation ? one : best),
    null,
  );
  if (newest === null) {
    if (copies.some(({ decoded }) => 'bad' in decoded && decoded.hasMagic)) throw bothDamaged(device, copies);
    return null;
  }
  const { good: superblock, roCompat, bytes } = newest;
  if (good.some((one) => one.good.volumeUuid !== superblock.volumeUuid)) throw ofTwoVolumes(device);
  if (device.size < superblock.deviceBytes) throw cutShort(device, superblock);
  return { superblock, bytes, roCompat, damaged: damagedOf(copies, superblock) };
}

function damagedOf(
  copies: readonly SuperblockCopy[],
  superblock: ExtentsSuperblock,
): FoundSuperblock['damaged'] {
  const places = [0, secondCopyOffset(superblock.deviceBytes)];
  return places.flatMap((offsetBytes) => {
    const decoded = copies.find((copy) => copy.offsetBytes === offsetBytes)?.decoded;
    if (decoded === undefined) return [{ offsetBytes, why: 'there is none' }];
    if ('bad' in decoded) return [{ offsetBytes, why: decoded.bad }];
    if ('good' in decoded && decoded.good.generation !== superblock.generation)
      return [{ offsetBytes, why: `it is older: generation ${decoded.good.generation}` }];
    return [];
  });
}

/** Writes both copies, durably. */
export async function writeSuperblock(device: BlockDevice, superblock: ExtentsSuperblock): Promise<void> {
  const offsets = [secondCopyOffset(superblock.deviceBytes), 0];
  await writeCopies(device, encodeSuperblock(superblock), offsets);
}

/** Makes the damaged copies what the good one is, durably. */
export function mendSuperblock(device: BlockDevice, { bytes, damaged }: FoundSuperblock): Promise<void> {
  return writeCopies(
    device,
    bytes,
    damaged.map(({ offsetBytes }) => offsetBytes),
  );
}

async function writeCopies(
  device: BlockDevice,
  bytes: Uint8Array,
  offsets: readonly number[],
): Promise<void> {
  for (const offset of offsets) await device.write(offset, bytes, { fua: true });
}

/** For people. */
export function describeDamaged(device: BlockDevice, { damaged }: FoundSuperblock): string[] {
  return damaged.map(
    ({ offsetBytes, why }) =>
      `${device.name}: the copy of the superblock of its extents at offset ${offsetBytes} is damaged: ${why}; the other copy is used`,
  );
}

function fromLater({ name }: BlockDevice, { offsetBytes, decoded }: SuperblockCopy): UserError {
  const what = 'later' in decoded ? decoded.later : '';
  return new UserError(
    'UNSUPPORTED',
    `${name}: the superblock of its extents at offset ${offsetBytes} is of a later holdfast: ${what}`,
    { hint: 'use the holdfast that made it', details: { image: name, offsetBytes } },
  );
}

function bothDamaged({ name }: BlockDevice, copies: readonly SuperblockCopy[]): UserError {
  const why = copies.map(
    ({ offsetBytes, decoded }) => `at offset ${offsetBytes}: ${'bad' in decoded ? decoded.bad : ''}`,
  );
  return new UserError(
    'METADATA_DAMAGED',
    `${name}: both copies of the superblock of its extents are damaged (${why.join('; ')})`,
    {
      hint: 'put a good copy of the image in its place; holdfast examine shows what is left',
      details: { image: name, offsetBytes: 0 },
    },
  );
}

function ofTwoVolumes({ name }: BlockDevice): UserError {
  return new UserError(
    'METADATA_DAMAGED',
    `${name}: the two copies of the superblock of its extents are of different volumes`,
    {
      hint: 'put a good copy of the image in its place',
      details: { image: name, offsetBytes: 0 },
    },
  );
}

function cutShort({ name, size }: BlockDevice, { deviceBytes }: ExtentsSuperblock): UserError {
  return new UserError(
    'DATA_UNAVAILABLE',
    `${name} was cut short: it ends at offset ${size}, ${deviceBytes - size} bytes are missing`,
    {
      hint: 'bring the rest back',
      details: { image: name, offsetBytes: size, lengthBytes: deviceBytes - size },
    },
  );
}
