/**
 * Which bytes of a raw device are in use: `usedRanges`. By the bitmaps of ext2, ext3 and ext4, on the device itself or in its
 * MBR or GPT partitions; everything else counts as used. Holes are taken out last, in one place, and only if the caller says
 * that what reads as zeroes need not be copied.
 */
import type { BlockDevice } from '../device/contract.js';
import { RangeSet } from '../device/range-set.js';
import { readContent } from './content.js';
import type { Found, UsedRanges, UsedRangesOptions } from './contract.js';
import { withoutHoles } from './holes.js';
import { HEAD_BYTES } from './signatures.js';
import { CountedReads } from './source.js';
import { readTable, type Table } from './tables/index.js';

export type { Found, UsedRanges, UsedRangesOptions } from './contract.js';
export { withoutHoles } from './holes.js';

/**
 * Reads only. Throws what the device throws; what is damaged or unknown on it is not an error, but used.
 * Offsets and lengths are bytes.
 */
export async function usedRanges(device: BlockDevice, options: UsedRangesOptions = {}): Promise<UsedRanges> {
  const source = new CountedReads(device);
  const head = await source.read(0, Math.min(HEAD_BYTES, device.size));
  const table = await readTable(source, head);
  const { ranges, found } = await (table === null ? wholeDevice(source) : partitions(source, table));
  return {
    ranges: options.holes === 'counted' ? ranges : await withoutHoles(device, ranges),
    readBytes: source.readBytes,
    found,
  };
}

type Answer = Pick<UsedRanges, 'ranges' | 'found'>;

async function wholeDevice(source: CountedReads): Promise<Answer> {
  const { found, used } = await readContent(source, { offsetBytes: 0, lengthBytes: source.sizeBytes });
  return { ranges: new RangeSet(used), found: [found] };
}

async function partitions(source: CountedReads, table: Table): Promise<Answer> {
  const ranges = new RangeSet();
  const found: Found[] = [];
  let at = 0;
  let between = 0;
  const addBetween = (end: number): void => {
    ranges.add(at, end);
    between += end - at;
  };
  for (const region of table.partitions) {
    addBetween(region.offsetBytes);
    const content = await readContent(source, region);
    for (const { start, end } of content.used) ranges.add(start, end);
    found.push(content.found);
    at = region.offsetBytes + region.lengthBytes;
  }
  addBetween(source.sizeBytes);
  const head: Found = {
    kind: table.kind,
    offsetBytes: 0,
    lengthBytes: source.sizeBytes,
    uuid: table.uuid,
    label: null,
    usedBytes: between,
    needsRecovery: false,
    committedSequence: null,
    isTrusted: table.why === null,
    why: table.why,
  };
  return { ranges, found: [head, ...found] };
}
