/**
 * What must hold of an array in every state that a power cut may leave (docs/crash-model.md, "What holds"): each
 * check says which promise is broken, and where.
 */
import type { Breach } from '../../../crash/explorer-failure.js';
import { type Owed, type RaidHistory, REFUSED, UNKNOWN } from './history.js';
import type { CompleteReading, DegradedReading, RaidReading } from './reading.js';

type Check<R> = (reading: R, history: RaidHistory, owed: Owed) => Breach | null;

const breach = (invariant: string, message: string): Breach => ({ invariant, message });

/** `isHealthy`: no member was gone or failed before the cut. */
export function checkRaid(
  reading: RaidReading,
  owed: Owed,
  history: RaidHistory,
  isHealthy: boolean,
): Breach | null {
  if (reading.kind === 'failed') return breach('usable', reading.message);
  if (reading.lookWrites > 0)
    return breach('10: a look writes nothing', `it made ${reading.lookWrites} writes`);
  if (reading.kind === 'degraded') {
    if (isHealthy && !reading.isMissing)
      return breach('whole', 'no member failed, and the array is degraded');
    return firstOf(DEGRADED, reading, history, owed);
  }
  if (reading.isMissing) return breach('whole', 'a member is missing, and the array counts as whole');
  return firstOf(COMPLETE, reading, history, owed);
}

function firstOf<R>(
  checks: readonly Check<R>[],
  reading: R,
  history: RaidHistory,
  owed: Owed,
): Breach | null {
  for (const check of checks) {
    const found = check(reading, history, owed);
    if (found !== null) return found;
  }
  return null;
}

const COMPLETE: readonly Check<CompleteReading>[] = [
  ({ unnamedRows, state }) =>
    unnamedRows.length === 0
      ? null
      : breach(
          '2: wrong parity is listed',
          `it is ${state}, the parity of rows ${unnamedRows} is wrong, and nothing names them`,
        ),
  ({ trustedRows }) =>
    trustedRows.length === 0
      ? null
      : breach(
          '2: the kernel resyncs what needs it',
          `it would trust the parity of rows ${trustedRows}, which is wrong`,
        ),
  ({ state, wrongRows }) =>
    state === 'dirty' || (state === 'clean' && wrongRows.length === 0)
      ? null
      : breach('2: clean means right', `it is ${state}, and the parity of rows ${wrongRows} is wrong`),
  ({ before }, history, owed) => reads('1: before recovery', before, history, owed),
  ({ after }, history, owed) => reads('1: after recovery', after.content, history, owed),
  ({ after: { state, wrongRows } }) =>
    state === 'clean' && wrongRows.length === 0
      ? null
      : breach('2: recovery makes parity right', `after it, it is ${state} and rows ${wrongRows} are wrong`),
  ({ after: { content, without } }) => {
    const slot = without.findIndex((other) => !isSame(content, other));
    if (slot < 0) return null;
    return breach(
      '1: without a member',
      `without slot ${slot}, after recovery, ${difference(content, without[slot]!)}`,
    );
  },
  ({ before, after: { content, again, againWrites } }) => {
    if (!isSame(before, content)) return breach('10: recovery keeps data', difference(before, content));
    if (!isSame(content, again)) return breach('10: recovered twice', difference(content, again));
    return againWrites === 0 ? null : breach('10: recovered twice', 'the second recovery writes');
  },
];

const DEGRADED: readonly Check<DegradedReading>[] = [
  ({ state, wantsForce, verdict }) => {
    const isDoubtful = state === 'dirty-degraded';
    if (isDoubtful === wantsForce) return null;
    return breach(
      '3: dirty-degraded',
      `it is ${state} (record: ${verdict}) and ${wantsForce ? 'wants' : 'does not want'} --force`,
    );
  },
  ({ isDoubtKnown, wantsForce, verdict }) =>
    isDoubtKnown || !wantsForce ? null : breach('3: the record counts', `it is ${verdict}`),
  ({ started }, history, owed) => reads('3: what is not in doubt', started, history, owed),
  ({ looked }, history, owed) => reads('3: what is not in doubt', looked, history, owed),
  ({ looked, started }) =>
    isSame(looked, started) ? null : breach('3: a look and a start agree', difference(looked, started)),
  ({ started, restarted }) =>
    isSame(started, restarted)
      ? null
      : breach('3: doubt survives', `opened anew, ${difference(started, restarted)}`),
  ({ restartedState }) =>
    restartedState === 'degraded' || restartedState === 'rebuilding'
      ? null
      : breach('3: started and stopped', `it is ${restartedState} after it was started and stopped`),
];

function reads(invariant: string, found: Int16Array, history: RaidHistory, owed: Owed): Breach | null {
  const sector = history.firstWrong(found, owed);
  if (sector < 0) return null;
  const oldest = owed.oldest[sector]!;
  const newest = owed.newest[sector]!;
  return breach(
    invariant,
    `sector ${sector} reads as ${version(found[sector]!)}, and versions ${oldest} to ${newest} are owed`,
  );
}

function isSame(some: Int16Array, others: Int16Array): boolean {
  return some === others || some.every((each, index) => each === others[index]);
}

function difference(some: Int16Array, others: Int16Array): string {
  const sector = some.findIndex((each, index) => each !== others[index]);
  return `sector ${sector} reads as ${version(others[sector]!)} and not as ${version(some[sector]!)}`;
}

function version(found: number): string {
  if (found === REFUSED) return 'refused';
  return found === UNKNOWN ? 'something that was never written there' : `version ${found}`;
}
