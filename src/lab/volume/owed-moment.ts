/**
 * Whether what disks hold together is what a power cut could have left of them at some moment: after so many of the requests each sector may hold
 * what it holds (owed.ts). A secondary is held to that, which is behind its volume, and is to be a state of it all the same.
 */
import { UNREADABLE } from './disk-reading.js';
import { type OwedDisk, SECTOR_BYTES } from './owed.js';

/** One disk, and by the sectors that it is owed what they hold. */
export interface HeldDisk {
  readonly name: string;
  readonly owed: OwedDisk;
  readonly contents: Int32Array;
}

/** A moment at which a sector begins, or ends, to be what it is. */
interface Bound {
  readonly moment: number;
  readonly disk: HeldDisk | null;
  readonly index: number;
}

/** Why there is no such moment up to `told`; null: there is one. What cannot be read says nothing. */
export function noMoment(disks: readonly HeldDisk[], told: number): string | null {
  // By moment, as differences: for how many sectors it may be the one.
  const counts = new Int32Array(told + 2);
  let known = 0;
  let youngest: Bound = { moment: -1, disk: null, index: 0 };
  let oldest: Bound = { moment: Number.POSITIVE_INFINITY, disk: null, index: 0 };
  for (const disk of disks)
    for (const [index, content] of disk.contents.entries()) {
      if (content === UNREADABLE) continue;
      known += 1;
      const times = disk.owed.when(index, content);
      const [first] = times;
      if (first === undefined || first.first > told)
        return `${nameOf({ disk, index })} is nothing that it may have been until then`;
      let end = 0;
      for (const { first, last } of times) {
        if (first > told) break;
        end = Math.min(last, told) + 1;
        counts[first]! += 1;
        counts[end]! -= 1;
      }
      if (first.first > youngest.moment) youngest = { moment: first.first, disk, index };
      if (end < oldest.moment) oldest = { moment: end, disk, index };
    }
  let sum = 0;
  for (let moment = 0; moment <= told; moment++) {
    sum += counts[moment]!;
    if (sum === known) return null;
  }
  return `${nameOf(youngest)} is as it was later than ${nameOf(oldest)}, and at no moment was that so`;
}

function nameOf({ disk, index }: Pick<Bound, 'disk' | 'index'>): string {
  const { sector } = disk!.owed.sectors[index]!;
  return `sector ${sector} of ${disk!.name} (offset ${sector * SECTOR_BYTES})`;
}
