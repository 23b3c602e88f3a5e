/** A failing state that is made smaller, as the file that it came from and as the one that it becomes. */
import type { Failure } from '../../crash/explorer-failure.js';
import type { ProfileName } from '../../crash/profiles.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { type FailureFile, pointOf, recoveryOf } from '../explore/failure-file.js';
import type { Failing } from './failing-state.js';

/** `path`: of the failure. What was missing while it was recovered is not in the file: none, until it is found otherwise. */
export function failingOf(failure: FailureFile, trace: StoredTrace, path: string): Omit<Failing, 'breach'> {
  const { missing } = failure;
  const recovered = recoveryOf(failure, trace, path);
  const point = pointOf(failure);
  if (recovered === null) return { point, missing, amid: null };
  return { point: recovered.point, missing, amid: { trace: recovered.trace, point, missing: null } };
}

/** Of the run that has found `file`. */
export function failureOf(file: FailureFile, { point, amid, missing, breach }: Failing): Failure {
  const { seed, profile, kind: invariant } = file;
  return {
    ...{ invariant, seed, profile: profile as ProfileName, spared: [], text: '', missing },
    ...{ message: breach.message, output: breach.output ?? '' },
    point: amid?.point ?? point,
    recovered: amid === null ? null : { point, trace: amid.trace },
  };
}
