/** One workload of the metadata engine, recorded and explored. */
import { explore } from '../../../src/crash/explorer.js';
import type { Report } from '../../../src/crash/explorer-report.js';
import type { ExploreOptions } from '../../../src/crash/explorer-subject.js';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { type EngineRecordOptions, type EngineWorkload, recordEngine } from './engine-recording.js';
import { sameEveryTime } from './same-every-time.js';

export async function exploreEngine(
  workload: EngineWorkload,
  options: ExploreOptions & EngineRecordOptions,
): Promise<Report> {
  return sameEveryTime(async () =>
    explore(await recordEngine(workload, new SeededRandom(options.seed), options), options),
  );
}
