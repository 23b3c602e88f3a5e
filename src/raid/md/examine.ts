/**
 * Looks for md superblocks in an image, at every place where one can be. Reads only, and believes nothing:
 * what has the magic and is not a good superblock is reported with its reason.
 */
import { type BlockDevice, DeviceError } from '../../device/contract.js';
import { UncheckedBytes } from '../../structure.js';
import { MD_MAGIC } from './fields-superblock.js';
import type { DamagedSuperblock, ExaminedImage, Superblock } from './model.js';
import { isDamaged, SUPERBLOCK_READ_BYTES, type SuperblockPlace, superblockPlaces } from './places.js';
import { decodeSuperblockV1 } from './superblock-v1.js';
import { decodeSuperblockV090, isBigEndianV090 } from './superblock-v090.js';

/**
 * A place that cannot be read counts as one whose superblock is damaged: a member with a broken sector there is
 * out, the array need not be.
 */
export async function examineImage(device: BlockDevice): Promise<ExaminedImage> {
  const superblocks: Superblock[] = [];
  const damaged: DamagedSuperblock[] = [];
  for (const place of superblockPlaces(device.size)) {
    const read = await readPlace(device, place);
    const found = read instanceof UncheckedBytes ? decodeAt(read, place, device.size) : read;
    if (found === null) continue;
    if (isDamaged(found)) damaged.push(found);
    else superblocks.push(found);
  }
  // In a small image two versions have one place: what is good as one of them is not damaged as the other.
  const good = withoutTwins(superblocks);
  const goodPlaces = new Set(good.map((superblock) => superblock.superOffset));
  return {
    image: device.name,
    device,
    superblocks: newestFirst(good),
    damaged: withoutTwins(damaged).filter((found) => !goodPlaces.has(found.superOffset)),
  };
}

async function readPlace(
  device: BlockDevice,
  place: SuperblockPlace,
): Promise<UncheckedBytes | DamagedSuperblock> {
  const bytes = new Uint8Array(SUPERBLOCK_READ_BYTES);
  try {
    await device.read(place.superOffset, bytes);
  } catch (error) {
    if (!(error instanceof DeviceError) || error.code !== 'IO_ERROR') throw error;
    return {
      version: place.version,
      superOffset: place.superOffset,
      reason: `it cannot be read: ${error.message}`,
      claim: null,
    };
  }
  return new UncheckedBytes(bytes, place.superOffset);
}

/** null: nothing there calls itself a superblock. */
function decodeAt(
  found: UncheckedBytes,
  place: SuperblockPlace,
  imageSizeBytes: number,
): Superblock | DamagedSuperblock | null {
  const magic = new DataView(found.bytes.buffer, found.bytes.byteOffset).getUint32(0, true);
  if (place.version === '0.90') {
    if (magic !== MD_MAGIC && !isBigEndianV090(found.bytes)) return null;
    return decodeSuperblockV090(found, place, imageSizeBytes);
  }
  return magic === MD_MAGIC ? decodeSuperblockV1(found, place, imageSizeBytes) : null;
}

/** Of those found at one place the last stays: 1.2 before 1.0, and version 1 before 0.90. */
function withoutTwins<T extends Superblock | DamagedSuperblock>(found: readonly T[]): T[] {
  return [...new Map(found.map((each) => [each.superOffset, each])).values()];
}

/** mdadm: guess_super and load_super1 take the one made last, the first of equals. */
function newestFirst(superblocks: readonly Superblock[]): Superblock[] {
  return [...superblocks].sort((a, b) => b.ctime - a.ctime);
}
