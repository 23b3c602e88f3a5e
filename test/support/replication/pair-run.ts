/** One workload of a primary with its secondary, recorded and explored: the cuts of one side, or of both. */
import { type ExploreOptions, explore } from '../../../src/crash/explorer.js';
import type { Report } from '../../../src/crash/explorer-report.js';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { sameEveryTime } from '../crash/same-every-time.js';
import { sparedBy } from './pair-devices.js';
import { type PairRecordOptions, type PairWorkload, recordPair } from './pair-recording.js';

export function explorePair(
  workload: PairWorkload,
  options: Omit<ExploreOptions, 'spared'> & PairRecordOptions,
): Promise<Report> {
  return sameEveryTime(async () =>
    explore(await recordPair(workload, new SeededRandom(options.seed), options), {
      ...options,
      spared: sparedBy(options.side),
    }),
  );
}
