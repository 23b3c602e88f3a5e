/**
 * A failure of a recorded volume with the fewest losses, by the built-in check. No event is left out: what clients were promised would be lost
 * by that, and not by the cut. What is made smaller is what the cut has taken (fewest-losses.ts), so the outcome is a failure of the same trace.
 */
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { type FailureFile, profileOf, saveFailure } from '../explore/failure-file.js';
import { withoutStackTraces, withVolume } from '../volume/explore-volume.js';
import { failingOf, failureOf } from './as-failure.js';
import { Clock } from './clock.js';
import { type Failing, FailingState } from './failing-state.js';

export interface MinimizeVolumeOptions {
  /** As the exploring that has found it. */
  readonly assumesClean: boolean;
  readonly maxSeconds: number;
  /** In which the run makes a folder of its own. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
}

export interface FewestLosses {
  /** Where it is kept. */
  readonly failure: string;
  readonly failing: Failing;
  /** False: it did not, when it was looked at once more in the end. */
  readonly failsStill: boolean;
  /** False: its recovery does something else each time, so that the first cut is as it was. */
  readonly isRepeatable: boolean;
  readonly isCutShort: boolean;
}

/** `of`: the failure and the trace, by their paths. Into `folder`; what is there stays. Throws what `withVolume` throws, and REFUSED where it does not fail as it says. */
export async function minimizeVolumeFailure(
  trace: StoredTrace,
  failure: FailureFile,
  folder: string,
  options: MinimizeVolumeOptions & { readonly of: { readonly trace: string; readonly failure: string } },
): Promise<FewestLosses> {
  const { maxSeconds, signal, of } = options;
  const clock = new Clock(maxSeconds);
  return withVolume(trace, options, ({ subject }) =>
    withoutStackTraces(async () => {
      const start = failingOf(failure, trace, of.failure);
      const { kind } = failure;
      const state = await FailingState.of(subject, start, { profile: profileOf(failure), kind, signal });
      await state.makeFewest(subject, clock.isOver);
      const failsStill = await state.failsStill(subject);
      const { now: failing, isRepeatable } = state;
      const saved = await saveFailure(folder, failureOf(failure, failing), { trace, path: of.trace });
      return { failure: saved, failing, failsStill, isRepeatable, isCutShort: clock.wasOver };
    }),
  );
}
