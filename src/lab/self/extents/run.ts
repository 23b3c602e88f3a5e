/** One workload of files on extents, recorded and explored. */
import { explore } from '../../../crash/explorer.js';
import type { Report } from '../../../crash/explorer-report.js';
import type { ExploreOptions } from '../../../crash/explorer-subject.js';
import { SeededRandom } from '../../../crash/seeded-random.js';
import { sameEveryTime } from '../same-every-time.js';
import { type ExtentsWorkload, type RecordExtentsOptions, recordExtents } from './recording.js';

export async function exploreExtents(
  workload: ExtentsWorkload,
  options: ExploreOptions & RecordExtentsOptions,
): Promise<Report> {
  return sameEveryTime(async () =>
    explore(await recordExtents(workload, new SeededRandom(options.seed), options), options),
  );
}
