/**
 * The fewest writes that a cut has to lose, or to tear, for its state to fail as it does: each that was lost is put back, each that tore is made
 * whole, as long as it fails; then the earliest cut at which all that was asked for by then is there and it fails, or all but the same losses.
 *
 * Every state that is tried is one that the crash model has: of the writes that are volatile at a cut any may be there. So this is sound where
 * events cannot be left out: what was promised stays promised. A file that is replaced as a whole (crash/file-versions.ts) is a write as any
 * other: put back, the newer version is there.
 */
import { pointOf, type StatePoint } from '../../crash/explorer-failure.js';
import { cutsOf } from '../../crash/explorer-journey.js';
import { type CrashProfile, PowerLoss } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { CutWalk } from '../../crash/states.js';
import { KeptWrites, type Tear } from '../../crash/states-kept.js';
import type { Trace } from '../../crash/trace.js';
import { fewest } from './fewest.js';

/** Of one write what a cut has lost: all of it, or as it tore. */
export interface Loss {
  /** Its number. */
  readonly operation: number;
  readonly tear: Tear | null;
}

/** What a cut leaves, and how it comes of the trace. */
export interface PointState {
  readonly point: StatePoint;
  readonly contents: readonly StateContent[];
}

export interface FewestLossesOptions {
  readonly trace: Trace;
  readonly initial: readonly StateContent[];
  readonly profile: CrashProfile;
  /** Of the state that fails. */
  readonly point: StatePoint;
  /** As that one did. */
  readonly fails: (state: PointState) => Promise<boolean>;
  /** Asked before each try: whether it is enough. */
  readonly isOver: () => boolean;
}

export function lossesOf({ dropped, torn }: Pick<StatePoint, 'dropped' | 'torn'>): Loss[] {
  return [...dropped.map((operation) => ({ operation, tear: null })), ...torn].sort(
    (a, b) => a.operation - b.operation,
  );
}

/** Of the writes that are volatile at this cut, these are lost or torn, as far as they are volatile, and the others are there. */
export function stateWith(state: KeptWrites, cut: number, losses: readonly Loss[]): PointState {
  const byNumber = new Map(losses.map(({ operation, tear }) => [operation, tear]));
  const flags = new Uint8Array(state.count).fill(1);
  const tears = new Map<number, Tear>();
  for (let write = 0; write < state.count; write++) {
    const tear = byNumber.get(state.operation(write).number);
    if (tear === null) flags[write] = 0;
    else if (tear !== undefined) tears.set(write, tear);
  }
  state.restore({ flags, tears });
  return { point: pointOf(state, cut), contents: state.contents() };
}

/** The outcome is the state that `fails` was last true of; where it never was, the one that there was. */
export async function fewestLosses(options: FewestLossesOptions): Promise<void> {
  const { fails, isOver } = options;
  let { cut } = options.point;
  let losses: readonly Loss[] = lossesOf(options.point);
  for (;;) {
    const at = cut;
    const state = new KeptWrites(walkTo(options, at));
    const holds = (fewer: readonly Loss[]) => fails(stateWith(state, at, fewer));
    losses = await fewest(losses, { holds, isOver });
    const earlier = await earliest(options, at, losses);
    if (earlier === null) return;
    cut = earlier.cut;
    losses = lossesOf(earlier);
  }
}

/** null: at none before this one. */
async function earliest(
  options: FewestLossesOptions,
  before: number,
  losses: readonly Loss[],
): Promise<StatePoint | null> {
  const { trace, initial, profile, fails, isOver } = options;
  const cuts = cutsOf({ trace, initial, isPromise: () => false }, new PowerLoss(profile)).sort(
    (a, b) => a - b,
  );
  const asked = firstOf(trace, losses);
  // From where none of them was asked for: that they never were may be all that is wrong.
  const start = Math.max(
    0,
    cuts.findLastIndex((cut) => cut <= asked),
  );
  // A cut that loses nothing says more than any that does, be it a later one.
  for (const tried of losses.length === 0 ? [losses] : [[], losses]) {
    const walk = walkTo(options, 0);
    for (const cut of cuts.slice(start)) {
      if (cut >= before || isOver()) break;
      walk.advance(cut);
      const state = stateWith(new KeptWrites(walk), cut, tried);
      if (await fails(state)) return state.point;
    }
  }
  return null;
}

/** The event that asks for the first of them; where there are none, the first of all. */
function firstOf({ events }: Trace, losses: readonly Loss[]): number {
  const lost = new Set(losses.map(({ operation }) => operation));
  return losses.length === 0
    ? 0
    : events.findIndex((event) => event.kind === 'submit' && lost.has(event.operation.number));
}

function walkTo({ trace, initial, profile }: FewestLossesOptions, cut: number): CutWalk {
  const walk = new CutWalk(trace, initial, profile);
  walk.advance(cut);
  return walk;
}
