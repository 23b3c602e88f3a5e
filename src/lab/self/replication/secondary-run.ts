/** One workload of a secondary, recorded and explored. */
import { explore } from '../../../crash/explorer.js';
import type { Report } from '../../../crash/explorer-report.js';
import type { ExploreOptions } from '../../../crash/explorer-subject.js';
import { SeededRandom } from '../../../crash/seeded-random.js';
import { sameEveryTime } from '../same-every-time.js';
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
