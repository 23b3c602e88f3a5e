/** One workload of the metadata engine, recorded and explored. */
import { explore } from '../../../crash/explorer.js';
import type { Report } from '../../../crash/explorer-report.js';
import type { ExploreOptions } from '../../../crash/explorer-subject.js';
import { SeededRandom } from '../../../crash/seeded-random.js';
import { sameEveryTime } from '../same-every-time.js';
import { type EngineRecordOptions, type EngineWorkload, recordEngine } from './recording.js';

export async function exploreEngine(
  workload: EngineWorkload,
  options: ExploreOptions & EngineRecordOptions,
): Promise<Report> {
  return sameEveryTime(async () =>
    explore(await recordEngine(workload, new SeededRandom(options.seed), options), options),
  );
}
