/** What a backup is restored to: an image that is made for it, or a volume that is there and takes it. */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import type { BlockDevice } from '../device/contract.js';
import { openImage } from '../device/open-image.js';
import { statOrNull } from '../device/stat-or-null.js';
import { UserError } from '../errors.js';
import { refuseFiles } from './extents.js';
import type { Volume } from './model.js';
import { isRemote } from './remote.js';

/** Whether an image is to be made for it. @throws UserError REFUSED for what lies in the set itself. */
export async function isNewTarget(to: string, set: string): Promise<boolean> {
  if (isRemote(to)) return false;
  const within = `${await realpath(set)}${sep}`;
  const above = await realpath(dirname(resolve(to))).catch(() => dirname(resolve(to)));
  const path = await realpath(to).catch(() => join(above, basename(to)));
  if (`${path}${sep}`.startsWith(within))
    throw new UserError('REFUSED', `${to} lies in the backup set ${set}: nothing is restored there`, {
      details: { image: to },
    });
  return (await statOrNull(to)) === null;
}

/** Sparse, and of exactly that size. @throws DeviceError */
export function newTarget(to: string, sizeBytes: number): Promise<BlockDevice> {
  return openImage(to, { readOnly: false, create: { size: sizeBytes } });
}

/**
 * @throws UserError UNSUPPORTED (it holds files), REFUSED (it is smaller than the backup; it is larger, and nobody said that
 *   the rest may stay as it is).
 */
export function assertTakesBackup(volume: Volume, sizeBytes: number, force: boolean): void {
  refuseFiles(volume, 'written');
  const { size } = volume.device;
  if (size === sizeBytes || (size > sizeBytes && force)) return;
  const [what, hint] =
    size < sizeBytes
      ? ['it does not fit', 'Name a larger target, or a new image.']
      : ['what lies behind it would stay as it is', 'With --force it may stay.'];
  throw new UserError('REFUSED', `${volume.label} has ${size} bytes, and the backup ${sizeBytes}: ${what}`, {
    hint,
    details: { image: volume.label, sizeBytes: size, wantedBytes: sizeBytes },
  });
}
