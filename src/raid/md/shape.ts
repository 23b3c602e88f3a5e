/** What a superblock of either version says of the shape of the array: whether it can be true of RAID-5. */
import { damaged } from './places.js';

export const RAID5_LEVEL = 5;
const MIN_CHUNK_BYTES = 4096;
const LAYOUTS = 6;

export interface Shape {
  readonly level: number;
  readonly layout: number;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  readonly memberSizeBytes: number;
}

/**
 * Damage unless RAID-5 of this shape can be (Linux drivers/md/raid5.c, setup_conf). Other levels have other
 * rules; they are refused as what they are, not as damage.
 */
export function checkShape(shape: Shape, maxDisks: number): void {
  const { raidDisks, chunkBytes, layout, memberSizeBytes } = shape;
  if (raidDisks < 1 || raidDisks > maxDisks)
    damaged(`raid_disks is ${raidDisks}, it can be 1 to ${maxDisks}`);
  if (shape.level !== RAID5_LEVEL) return;
  if (raidDisks < 2) damaged('raid_disks is 1, RAID-5 has at least 2');
  if (layout >= LAYOUTS) damaged(`layout is ${layout}, RAID-5 has 0 to ${LAYOUTS - 1}`);
  const log = Math.log2(chunkBytes);
  if (chunkBytes < MIN_CHUNK_BYTES || !Number.isInteger(log)) {
    damaged(`the chunk is ${chunkBytes} bytes, it must be a power of two of at least ${MIN_CHUNK_BYTES}`);
  }
  if (memberSizeBytes < chunkBytes) {
    damaged(
      `size says ${memberSizeBytes} bytes of each member are used, less than one chunk of ${chunkBytes}`,
    );
  }
  if (memberSizeBytes * raidDisks > Number.MAX_SAFE_INTEGER) {
    damaged(`size says ${memberSizeBytes} bytes of each of ${raidDisks} members are used, more than can be`);
  }
}
