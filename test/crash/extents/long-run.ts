/** The workloads of files on extents, explored for minutes on what they stand on. */
import { exploreExtents } from '../../support/crash/extents-run.js';
import type { Stand } from '../../support/crash/extents-stand.js';
import { workloadsOn } from '../../support/crash/extents-workloads.js';
import { describeLongRun, statesOr } from '../long-run.js';

/** One image, and RAID-5. */
const STANDS = 2;
/** Different states are what takes time: each cut has its share of them. */
const IMAGES_PER_CUT = 40;

export function describeFiles(stand: Stand): void {
  describeLongRun({
    title: `files on ${stand.name}`,
    workloads: workloadsOn(stand),
    states: statesOr(2_400_000) / STANDS / workloadsOn(stand).length,
    explore: (workload, options) =>
      exploreExtents(workload, { ...options, stand, maxImagesPerCut: IMAGES_PER_CUT }),
  });
}
