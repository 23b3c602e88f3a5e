/** One workload of a volume with moments, recorded and explored. */
import { explore } from '../../../crash/explorer.js';
import type { Report } from '../../../crash/explorer-report.js';
import type { ExploreOptions } from '../../../crash/explorer-subject.js';
import { SeededRandom } from '../../../crash/seeded-random.js';
import { realClock } from '../../../replication/clock.js';
import { sameEveryTime } from '../same-every-time.js';
import { recordSnapshots, type SnapshotsRecordOptions, type SnapshotsWorkload } from './recording.js';

export function exploreSnapshots(
  workload: SnapshotsWorkload,
  options: ExploreOptions & SnapshotsRecordOptions,
): Promise<Report> {
  return sameEveryTime(() =>
    withoutWaiting(async () =>
      explore(await recordSnapshots(workload, new SeededRandom(options.seed), options), options),
    ),
  );
}

/** Writers that are slowed down are so by a clock: nobody waits for it here. */
async function withoutWaiting<R>(body: () => Promise<R>): Promise<R> {
  const { wait } = realClock;
  realClock.wait = async () => {};
  try {
    return await body();
  } finally {
    realClock.wait = wait;
  }
}
