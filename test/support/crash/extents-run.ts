/** One workload of files on extents, recorded and explored. */
import { explore } from '../../../src/crash/explorer.js';
import type { Report } from '../../../src/crash/explorer-report.js';
import type { ExploreOptions } from '../../../src/crash/explorer-subject.js';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { type ExtentsWorkload, type RecordExtentsOptions, recordExtents } from './extents-recording.js';
import { sameEveryTime } from './same-every-time.js';

export async function exploreExtents(
  workload: ExtentsWorkload,
  options: ExploreOptions & RecordExtentsOptions,
): Promise<Report> {
  return sameEveryTime(async () =>
    explore(await recordExtents(workload, new SeededRandom(options.seed), options), options),
  );
}
