/** Gives a new array what only mdadm makes: an internal write-intent bitmap. */
import type { BlockDevice } from '../../../device/contract.js';
import { bitmapBytes } from '../../../raid/md/bitmap-copy.js';
import { examineImage } from '../../../raid/md/examine.js';
import { BITMAP_MAGIC, BITMAP_SUPERBLOCK } from '../../../raid/md/fields-logs.js';
import { FEATURE, SUPERBLOCK_V1 } from '../../../raid/md/fields-superblock.js';
import { SECTOR_BYTES, type Superblock } from '../../../raid/md/model.js';
import { checksumV1 } from '../../../raid/md/superblock-v1.js';
import { setUuidBytes } from '../../../raid/md/uuid.js';

type View = ReturnType<(typeof SUPERBLOCK_V1)['at']>;

/** Behind the superblock and the bad-block log. */
export const PLACE_SECTORS = 48;

/** `chunkBytes` of a member's data area for each bit; all bits are clear. */
export async function addBitmap(devices: readonly BlockDevice[], chunkBytes: number): Promise<void> {
  for (const device of devices) {
    const superblock = await changeSuperblock(device, (view) => {
      view.setNumber('feature_map', view.number('feature_map') | FEATURE.bitmap);
      view.setNumber('bitmap_offset', PLACE_SECTORS);
    });
    await device.write(superblock.bitmapOffset!, emptyBitmap(superblock, chunkBytes), { fua: true });
  }
}

function emptyBitmap(superblock: Superblock, chunkBytes: number): Uint8Array {
  const raw = new Uint8Array(bitmapBytes(Math.ceil(superblock.memberSizeBytes / chunkBytes)));
  const view = BITMAP_SUPERBLOCK.at(raw);
  view.setNumber('magic', BITMAP_MAGIC);
  view.setNumber('version', 4);
  view.bytes('uuid').set(setUuidBytes(superblock));
  view.setBig('events', superblock.events);
  view.setBig('events_cleared', superblock.events);
  view.setBig('sync_size', BigInt(superblock.memberSizeBytes / SECTOR_BYTES));
  view.setNumber('chunksize', chunkBytes);
  view.setNumber('daemon_sleep', 5);
  return raw;
}

/** The superblock of a member, changed as `change` says; as it is read again. */
export async function changeSuperblock(
  device: BlockDevice,
  change: (view: View) => void,
): Promise<Superblock> {
  const { raw, superOffset } = (await examineImage(device)).superblocks[0]!;
  const bytes = raw.slice();
  const view = SUPERBLOCK_V1.at(bytes);
  change(view);
  view.setNumber('sb_csum', checksumV1(bytes, view.number('max_dev')));
  await device.write(superOffset, bytes, { fua: true });
  return (await examineImage(device)).superblocks[0]!;
}
