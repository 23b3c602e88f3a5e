/**
 * Where superblocks lie in an image, and whether the places that a superblock names make sense there.
 *
 * Reasons are written for people: they name the field, what it says and what it would have to say.
 */
import { type DamagedSuperblock, type MetadataVersion, SECTOR_BYTES } from './model.js';

/** What is read at each place: version 1 may use all of it, 0.90 does. */
export const SUPERBLOCK_READ_BYTES = 4096;

export interface SuperblockPlace {
  readonly version: MetadataVersion;
  readonly superOffset: number;
}

const V090_RESERVED_BYTES = 65536;
/** Version 1.0 lies at least 8 KiB before the end, at a multiple of 4 KiB. */
const V10_RESERVED_SECTORS = 16;
const V10_ALIGN_SECTORS = 8;
/** mdadm and the kernel take no smaller device for version 1. */
const V1_MIN_SECTORS = 24;

/** The place of each version in an image of this size, in the order in which mdadm prefers them when equal. */
export function superblockPlaces(imageSizeBytes: number): SuperblockPlace[] {
  const places: SuperblockPlace[] = [];
  const sectors = Math.floor(imageSizeBytes / SECTOR_BYTES);
  if (imageSizeBytes >= V090_RESERVED_BYTES) {
    const rounded = imageSizeBytes - (imageSizeBytes % V090_RESERVED_BYTES);
    places.push({ version: '0.90', superOffset: rounded - V090_RESERVED_BYTES });
  }
  if (sectors >= V1_MIN_SECTORS) {
    const before = sectors - V10_RESERVED_SECTORS;
    places.push({ version: '1.0', superOffset: (before - (before % V10_ALIGN_SECTORS)) * SECTOR_BYTES });
    places.push({ version: '1.1', superOffset: 0 });
    places.push({ version: '1.2', superOffset: SUPERBLOCK_READ_BYTES });
  }
  return places;
}

/** Thrown by the decoders to themselves, and turned into a DamagedSuperblock by `decodeOrDamage`. */
class Damage extends Error {}

export function damaged(reason: string): never {
  throw new Damage(reason);
}

export function isDamaged(found: object): found is DamagedSuperblock {
  return 'reason' in found;
}

/** Runs a decoder: what it finds wrong becomes the verdict, what is a fault of ours stays an error. */
export function decodeOrDamage<T>(
  place: SuperblockPlace,
  decode: () => T,
  claim: () => DamagedSuperblock['claim'],
): T | DamagedSuperblock {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    return { version: place.version, superOffset: place.superOffset, reason: error.message, claim: claim() };
  }
}

/** Sectors as stored to bytes; null if that is more than any image can have. */
export function sectorsToBytes(sectors: bigint): number | null {
  const bytes = sectors * BigInt(SECTOR_BYTES);
  return bytes >= 0n && bytes <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(bytes) : null;
}

/** The same for a field that has to be sensible. */
export function fieldToBytes(name: string, sectors: bigint): number {
  return sectorsToBytes(sectors) ?? damaged(`${name} is ${sectors} sectors, more than an image can have`);
}

/** A stretch of the image that belongs to somebody. */
export interface Stretch {
  readonly what: string;
  readonly start: number;
  readonly end: number;
}

export function overlap(a: Stretch, b: Stretch): boolean {
  return a.start < b.end && b.start < a.end;
}

/** Damage unless `stretch` lies in the image and clear of all `others`. */
export function mustBeApart(stretch: Stretch, others: readonly Stretch[], imageSizeBytes: number): void {
  if (stretch.start < 0 || stretch.end > imageSizeBytes) {
    damaged(
      `${stretch.what} would lie at ${stretch.start} to ${stretch.end}, outside the image of ${imageSizeBytes} bytes`,
    );
  }
  const other = others.find((candidate) => overlap(stretch, candidate));
  if (other !== undefined) {
    damaged(
      `${stretch.what} (${stretch.start} to ${stretch.end}) overlaps ${other.what} (${other.start} to ${other.end})`,
    );
  }
}
