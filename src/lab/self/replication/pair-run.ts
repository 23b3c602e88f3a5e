/** One workload of a primary with its secondaries, recorded and explored: the cuts of one machine, or of all. */
import { explore } from '../../../crash/explorer.js';
import type { Report } from '../../../crash/explorer-report.js';
import type { ExploreOptions } from '../../../crash/explorer-subject.js';
import { SeededRandom } from '../../../crash/seeded-random.js';
import { sameEveryTime } from '../same-every-time.js';
import { type PairRecordOptions, type PairWorkload, recordPair } from './pair-recording.js';

export function explorePair(
  workload: PairWorkload,
  options: Omit<ExploreOptions, 'spared'> & PairRecordOptions,
): Promise<Report> {
  return sameEveryTime(async () => {
    const { subject, spared } = await recordPair(workload, new SeededRandom(options.seed), options);
    return explore(subject, { ...options, spared });
  });
}
