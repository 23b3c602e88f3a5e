/** The state of an array as its superblocks have it: what `status` says of a volume that nobody has open. */
import type { Judgement } from './model.js';

export type ArrayState = 'clean' | 'dirty' | 'degraded' | 'dirty-degraded' | 'rebuilding' | 'failed';

/**
 * Dirty: parity may be wrong somewhere; then a rebuild cannot be trusted either, and one that lacks a member
 * is dirty-degraded. The superblocks say it, unless who knows better (the dirty-stripe record) does. Bits in a bitmap of an array that is clean say nothing (the kernel clears them late).
 */
export function arrayState(
  judgement: Judgement,
  isDirty = judgement.set !== null && judgement.set.resyncOffset !== null,
): ArrayState {
  if (judgement.set === null || judgement.refusals.some((refusal) => refusal.forbids === 'all'))
    return 'failed';
  const whole = judgement.slots.every((slot) => slot.state === 'in-sync');
  if (isDirty) return whole ? 'dirty' : 'dirty-degraded';
  // A replacement that is not whole yet takes nothing away: the member that it is to replace serves.
  if (judgement.slots.some((slot) => slot.state === 'rebuilding')) return 'rebuilding';
  return whole ? 'clean' : 'degraded';
}
