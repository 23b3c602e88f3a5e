/**
 * Gives a new array what only mdadm makes: partial parity logs. For tests that
 * need them in arrays of a shape, or on devices, that no kernel's array has.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../src/device/contract.js';
import { judgeDevices } from '../../src/lab/self/raid/arrays.js';
import { changeSuperblock, PLACE_SECTORS } from '../../src/lab/self/raid/write-intent-bitmap.js';
import { PPL_ENTRY, PPL_HEADER } from '../../src/raid/md/fields-logs.js';
import { FEATURE } from '../../src/raid/md/fields-superblock.js';
import { emptyPpl, emptyPplHeader } from '../../src/raid/md/ppl.js';
import { setUuidBytes } from '../../src/raid/md/uuid.js';
import { geometryOf } from '../../src/raid/open.js';

const PPL_SECTORS = 256;

export async function addPpl(devices: readonly BlockDevice[]): Promise<void> {
  for (const device of devices) {
    const superblock = await changeSuperblock(device, (view) => {
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
