/**
 * The verdict over devices, for hundreds of thousands of states of which most have superblocks that were seen before:
 * what is the same byte for byte is decoded once. Nothing but the bytes decides what is found on an image.
 */
import { HASH_WORDS, hashSector, xorHash } from '../../../crash/state-hash.js';
import type { BlockDevice } from '../../../device/contract.js';
import { examineImage } from '../../../raid/md/examine.js';
import { MD_MAGIC } from '../../../raid/md/fields-superblock.js';
import { judge } from '../../../raid/md/judge.js';
import type { ExaminedImage, Judgement } from '../../../raid/md/model.js';
import { SUPERBLOCK_READ_BYTES, superblockPlaces } from '../../../raid/md/places.js';

const SECTOR_BYTES = 512;
const PLACE_SECTORS = SUPERBLOCK_READ_BYTES / SECTOR_BYTES;

export class Examiner {
  private readonly known = new Map<string, Pick<ExaminedImage, 'superblocks' | 'damaged'>>();

  async judge(devices: readonly BlockDevice[]): Promise<Judgement> {
    const images: ExaminedImage[] = [];
    for (const device of devices) images.push(await this.examine(device));
    return judge(images);
  }

  private async examine(device: BlockDevice): Promise<ExaminedImage> {
    const key = await this.key(device);
    let found = this.known.get(key);
    if (found === undefined) {
      found = await examineImage(device);
      this.known.set(key, found);
    }
    return { image: device.name, device, superblocks: found.superblocks, damaged: found.damaged };
  }

  /** Of all that examining an image looks at: what does not begin with the magic number is no superblock. */
  private async key(device: BlockDevice): Promise<string> {
    const bytes = new Uint8Array(SUPERBLOCK_READ_BYTES);
    const magic = new DataView(bytes.buffer);
    const sum = new Int32Array(HASH_WORDS);
    const one = new Int32Array(HASH_WORDS);
    for (const [place, { superOffset }] of superblockPlaces(device.size).entries()) {
      await device.read(superOffset, bytes);
      if (magic.getUint32(0, true) !== MD_MAGIC && magic.getUint32(0, false) !== MD_MAGIC) continue;
      for (let sector = 0; sector < PLACE_SECTORS; sector++) {
        const content = bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
        hashSector(place, sector, content, one, 0);
        xorHash(sum, 0, one, 0);
      }
    }
    return `${device.size} ${sum.join()}`;
  }
}
