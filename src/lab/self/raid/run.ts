/**
 * One workload, recorded and explored, and what its states looked like: so that a test sees that it has come upon all
 * that it is to be about.
 */
import { explore } from '../../../crash/explorer.js';
import { describeReport, type Report } from '../../../crash/explorer-report.js';
import type { ProfileName } from '../../../crash/profiles.js';
import { SeededRandom } from '../../../crash/seeded-random.js';
import { sameEveryTime } from '../same-every-time.js';
import { type RecordOptions, recordWorkload, type Workload } from './recording.js';

export interface RaidRunOptions extends RecordOptions {
  readonly seed: number;
  readonly maxStates?: number;
  readonly maxImages?: number;
  readonly maxImagesPerCut?: number;
  readonly maxFailures?: number;
  readonly maxSeconds?: number;
  readonly profile?: ProfileName;
}

export interface RaidRun {
  readonly report: Report;
  /** "clean", "dirty"; "without a member: dirty-degraded" and the like. */
  readonly seen: ReadonlySet<string>;
}

export async function exploreWorkload(workload: Workload, options: RaidRunOptions): Promise<RaidRun> {
  return sameEveryTime(async () => {
    const subject = await recordWorkload(workload, new SeededRandom(options.seed), options);
    const seen = new Set<string>();
    const report = await explore(
      {
        ...subject,
        async evaluate(state) {
          const evaluation = await subject.evaluate(state);
          const { reading } = evaluation;
          const what = reading.kind === 'failed' ? 'failed' : reading.state;
          seen.add(reading.isMissing ? `without a member: ${what}` : what);
          return evaluation;
        },
      },
      options,
    );
    return { report, seen };
  });
}

/** For a test that goes on after a failure: which workload it was, and all that its report says. */
export function failuresOf(workload: Workload, { report }: RaidRun): string[] {
  if (report.failures.length === 0) return [];
  return [`${workload.name}\n${describeReport(report)}`];
}
