/**
 * Damaged superblocks of which it can be proven what they were, and that with them the images are members of the set
 * and nothing else about the set gets worse.
 */
import { type BlockDevice, DeviceError } from '../device/contract.js';
import { judge } from '../raid/md/judge.js';
import type { ExaminedImage, Judgement, Superblock } from '../raid/md/model.js';
import { SUPERBLOCK_READ_BYTES, superblockPlaces } from '../raid/md/places.js';
import { restoreSuperblockV1 } from '../raid/md/superblock-v1-restore.js';
import { UncheckedBytes } from '../structure.js';

/** By image. `judgement` is over `images`; no image is in it twice. */
export async function findRestorable(
  images: readonly ExaminedImage[],
  judgement: Judgement,
): Promise<ReadonlyMap<string, Superblock>> {
  const none = new Map<string, Superblock>();
  const { freshest, set } = judgement;
  if (freshest === null || set === null || freshest.version === '0.90') return none;
  const donors = images.flatMap(({ superblocks }) => superblocks.filter((each) => each.setUuid === set.uuid));
  const restored = new Map<string, Superblock>();
  for (const { image, device, superblocks } of images) {
    if (superblocks.length > 0) continue;
    const superblock = await restore(device, freshest, donors);
    if (superblock !== null) restored.set(image, superblock);
  }
  return isAccepted(images, judgement, restored) ? restored : none;
}

async function restore(
  device: BlockDevice,
  { version }: Superblock,
  donors: readonly Superblock[],
): Promise<Superblock | null> {
  const place = superblockPlaces(device.size).find((each) => each.version === version);
  if (place === undefined) return null;
  const bytes = new Uint8Array(SUPERBLOCK_READ_BYTES);
  try {
    await device.read(place.superOffset, bytes);
  } catch (error) {
    // What cannot be read proves nothing; the checks tell of it.
    if (!(error instanceof DeviceError) || error.code !== 'IO_ERROR') throw error;
    return null;
  }
  return restoreSuperblockV1(new UncheckedBytes(bytes, place.superOffset), device.size, donors);
}

/** With them, every image so restored serves in a slot that nobody served in, and no refusal is new. */
function isAccepted(
  images: readonly ExaminedImage[],
  judgement: Judgement,
  restored: ReadonlyMap<string, Superblock>,
): boolean {
  if (restored.size === 0) return false;
  const repaired = images.map((image) => {
    const superblock = restored.get(image.image);
    return superblock === undefined ? image : { ...image, superblocks: [superblock], damaged: [] };
  });
  const after = judge(repaired, { setUuid: judgement.set!.uuid });
  const known = new Set(judgement.refusals.map(({ code }) => code));
  if (after.refusals.some(({ code }) => !known.has(code))) return false;
  const kept = judgement.slots.every(
    ({ image }, slot) => image === null || after.slots[slot]?.image === image,
  );
  const serving = new Set(after.slots.map(({ image }) => image));
  return kept && [...restored.keys()].every((image) => serving.has(image));
}
