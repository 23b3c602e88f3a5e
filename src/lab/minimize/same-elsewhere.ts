/**
 * The cuts that leave what another leaves. Of a recovery that was cut the explorer keeps the first cut that it came upon; what it is owed
 * may be that of any other that leads to the same state, such as one behind the mark that says so.
 */
import { contentsAt, type StatePoint } from '../../crash/explorer-failure.js';
import { cutsOf } from '../../crash/explorer-journey.js';
import { type CrashProfile, PowerLoss } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { HASH_WORDS } from '../../crash/state-hash.js';
import { CutWalk } from '../../crash/states.js';
import { KeptWrites } from '../../crash/states-kept.js';
import type { Trace } from '../../crash/trace.js';
import { lossesOf, type PointState, stateWith } from './fewest-losses.js';

export interface SameElsewhereOptions {
  readonly trace: Trace;
  readonly initial: readonly StateContent[];
  readonly profile: CrashProfile;
  readonly point: StatePoint;
}

/** In the order of the trace: with what was kept kept, as far as it is volatile, and all else lost, where that leaves the same. */
export function* sameElsewhere({
  trace,
  initial,
  profile,
  point,
}: SameElsewhereOptions): Generator<PointState> {
  const wanted = hashOf(contentsAt(trace, initial, profile, point));
  const kept = new Set(point.kept);
  const walk = new CutWalk(trace, initial, profile);
  const cuts = cutsOf({ trace, initial, isPromise: () => false }, new PowerLoss(profile));
  for (const cut of cuts.sort((a, b) => a - b)) {
    walk.advance(cut);
    if (cut === point.cut) continue;
    const dropped = walk.volatile
      .map(({ operation }) => operation.number)
      .filter((number) => !kept.has(number));
    const state = stateWith(new KeptWrites(walk), cut, lossesOf({ dropped, torn: point.torn }));
    if (hashOf(state.contents) === wanted) yield state;
  }
}

function hashOf(contents: readonly StateContent[]): string {
  const words = new Int32Array(contents.length * HASH_WORDS);
  for (const [device, content] of contents.entries()) content.hash(words, device * HASH_WORDS);
  return words.join();
}
