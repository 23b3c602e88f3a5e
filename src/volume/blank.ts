/**
 * Whether an image holds anything: creating over what is not blank wants to be asked for by name.
 */
import type { BlockDevice } from '../device/contract.js';
import { isZero } from '../device/zeroes.js';
import type { UserError } from '../errors.js';

const STEP_BYTES = 1024 * 1024;

/** The offset of the first byte that is not zero; null: the image is blank. Holes cost nothing. */
export async function firstContent(device: BlockDevice): Promise<number | null> {
  const buffer = new Uint8Array(STEP_BYTES);
  for (const extent of await device.extents(0, device.size)) {
    if (extent.kind !== 'data') continue;
    for (let at = extent.offset; at < extent.offset + extent.length; at += STEP_BYTES) {
      const bytes = buffer.subarray(0, Math.min(STEP_BYTES, extent.offset + extent.length - at));
      await device.read(at, bytes);
      if (!isZero(bytes)) return at + bytes.findIndex((byte) => byte !== 0);
    }
  }
  return null;
}

/**
 * Whoever is about to fill it has it blank then, durably: what it holds is overwritten by `force`, and refused without, with
 * the error that is made of the offset of its first byte.
 */
export async function claimBlank(
  device: BlockDevice,
  force: boolean,
  refusal: (offsetBytes: number) => UserError,
): Promise<void> {
  const offset = await firstContent(device);
  if (offset === null) return;
  if (!force) throw refusal(offset);
  await makeBlank(device);
}

/** Every byte of the image reads as zero afterwards, durably. */
export async function makeBlank(device: BlockDevice): Promise<void> {
  await device.writeZeroes(0, device.size);
  await device.flush();
}
