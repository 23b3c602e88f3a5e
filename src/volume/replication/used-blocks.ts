/**
 * What a new secondary is to get: the blocks that are used (coordinated dirty block tracking, paragraph 95). Holes it has
 * already, since it begins blank.
 */
import type { BlockDevice } from '../../device/contract.js';
import { RangeSet } from '../../device/range-set.js';
import { usedRanges, withoutHoles } from '../../filesystems/index.js';
import { blocksWithin } from '../../replication/blocks.js';
import type { SecondaryTracking } from '../../replication/tracking/secondary-tracking.js';

/** Dirty, durably, when it returns. `isTrusted`: what filesystems call free is left out, and noted as never copied. */
export async function markUsed(
  primary: BlockDevice,
  tracking: SecondaryTracking,
  { isTrusted }: { readonly isTrusted: boolean },
): Promise<void> {
  const data = await withoutHoles(primary, new RangeSet([{ start: 0, end: primary.size }]));
  await markFirst(tracking, { data, used: isTrusted ? (await usedRanges(primary)).ranges : data });
}

/** As `markUsed`: of the `data`, what is `used` is to be copied. */
export async function markFirst(
  tracking: SecondaryTracking,
  { data, used }: { readonly data: RangeSet; readonly used: RangeSet },
): Promise<void> {
  const { uncopied } = tracking;
  if (uncopied !== null) {
    for (const { start, end } of data.list()) uncopied.map.set(blocksWithin(start, end - start));
    // A block that is used in part is copied whole.
    for (const { start, end } of used.list()) uncopied.map.clear(blocksWithin(start, end - start));
  }
  // After that: what is written meanwhile is dirty, and no more uncopied.
  for (const range of [...tracking.map.runs()]) uncopied?.map.clear(range);
  for (const { start, end } of used.list()) tracking.mark(blocksWithin(start, end - start));
  await uncopied?.file.persist([tracking.everything]);
  await tracking.file.persist([tracking.everything]);
}
