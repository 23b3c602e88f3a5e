/**
 * Gives a new array what only mdadm makes: an internal write-intent bitmap, or partial parity logs. For tests that
 * need them in arrays of a shape, or on devices, that no kernel's array has.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../src/device/contract.js';
import { bitmapBytes } from '../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { BITMAP_MAGIC, BITMAP_SUPERBLOCK, PPL_ENTRY, PPL_HEADER } from '../../src/raid/md/fields-logs.js';
import { FEATURE, SUPERBLOCK_V1 } from '../../src/raid/md/fields-superblock.js';
import { SECTOR_BYTES, type Superblock } from '../../src/raid/md/model.js';
import { emptyPpl, emptyPplHeader } from '../../src/raid/md/ppl.js';
import { checksumV1 } from '../../src/raid/md/superblock-v1.js';
import { setUuidBytes } from '../../src/raid/md/uuid.js';
import { geometryOf } from '../../src/raid/open.js';
import { judgeDevices } from './arrays.js';

type View = ReturnType<(typeof SUPERBLOCK_V1)['at']>;

/** Behind the superblock and the bad-block log. */
const PLACE_SECTORS = 48;
const PPL_SECTORS = 256;

/** `chunkBytes` of a member's data area for each bit; all bits are clear. */
export async function addBitmap(devices: readonly BlockDevice[], chunkBytes: number): Promise<void> {
  for (const device of devices) {
    const superblock = await changed(device, (view) => {
      view.setNumber('feature_map', view.number('feature_map') | FEATURE.bitmap);
      view.setNumber('bitmap_offset', PLACE_SECTORS);
    });
    await device.write(superblock.bitmapOffset!, emptyBitmap(superblock, chunkBytes), { fua: true });
  }
}

export async function addPpl(devices: readonly BlockDevice[]): Promise<void> {
  for (const device of devices) {
    const superblock = await changed(device, (view) => {
      view.setNumber('feature_map', view.number('feature_map') | FEATURE.ppl);
      view.setNumber('ppl_offset', PLACE_SECTORS);
      view.setNumber('ppl_size', PPL_SECTORS);
    });
    await emptyPpl(device, superblock);
    await device.flush();
  }
}

/**
 * As the kernel leaves them at a clean stop: in the log of stripe 0's parity the entry of a write of 4 KiB at 0, made
 * when all else was zero. It is whole, and it is of no more use.
 */
export async function leaveStalePpl(devices: readonly BlockDevice[]): Promise<void> {
  const { set, slots } = await judgeDevices(devices);
  const parity = geometryOf(set!).parityMember(0);
  const { device, superblock } = slots[parity]!;
  const partial = new Uint8Array(4096);
  const header = emptyPplHeader(setUuidBytes(superblock!));
  const view = PPL_HEADER.at(header);
  const entry = PPL_ENTRY.at(header, PPL_HEADER.offsetOf('entries'));
  entry.setNumber('pp_size', partial.length);
  entry.setNumber('data_size', partial.length);
  entry.setNumber('parity_disk', parity);
  entry.setNumber('checksum', crc32c(partial));
  view.setNumber('entries_count', 1);
  view.setNumber('checksum', 0);
  view.setNumber('checksum', crc32c(header));
  await device!.write(superblock!.ppl!.offset, header);
  await device!.write(superblock!.ppl!.offset + header.length, partial);
  await device!.flush();
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

async function changed(device: BlockDevice, change: (view: View) => void): Promise<Superblock> {
  const { raw, superOffset } = (await examineImage(device)).superblocks[0]!;
  const bytes = raw.slice();
  const view = SUPERBLOCK_V1.at(bytes);
  change(view);
  view.setNumber('sb_csum', checksumV1(bytes, view.number('max_dev')));
  await device.write(superOffset, bytes, { fua: true });
  return (await examineImage(device)).superblocks[0]!;
}
