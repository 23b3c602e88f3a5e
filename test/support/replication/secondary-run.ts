/** One workload of a secondary, recorded and explored. */
import { explore } from '../../../src/crash/explorer.js';
import type { Report } from '../../../src/crash/explorer-report.js';
import type { ExploreOptions } from '../../../src/crash/explorer-subject.js';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { sameEveryTime } from '../crash/same-every-time.js';
import {
  recordSecondary,
  type SecondaryRecordOptions,
  type SecondaryWorkload,
} from './secondary-recording.js';

export function exploreSecondary(
  workload: SecondaryWorkload,
  options: ExploreOptions & SecondaryRecordOptions,
): Promise<Report> {
  return sameEveryTime(async () =>
    explore(await recordSecondary(workload, new SeededRandom(options.seed), options), options),
  );
}
