/**
 * Ranges without what the device itself says reads as zeroes, for a copy onto what reads as zeroes everywhere.
 */
import type { BlockDevice } from '../device/contract.js';
import { RangeSet } from '../device/range-set.js';

/** The device is asked in pieces: what a large one consists of is a long list. */
const PIECE_BYTES = 64 * 1024 ** 3;

/** `ranges` are in bytes of the device. Throws what the device throws. */
export async function withoutHoles(device: BlockDevice, ranges: RangeSet): Promise<RangeSet> {
  const left = new RangeSet();
  for (let at = 0; at < device.size; at += PIECE_BYTES) {
    const end = Math.min(at + PIECE_BYTES, device.size);
    if (!ranges.overlaps(at, end)) continue;
    for (const { offset, length, kind } of await device.extents(at, end - at)) {
      if (kind !== 'data') continue;
      for (const range of ranges.within(offset, offset + length)) left.add(range.start, range.end);
    }
  }
  return left;
}
