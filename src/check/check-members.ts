/** Checks who is in the set: what it is refused for, and what became of each slot and of each image that claims one. */
import type { DamagedSuperblock, JudgedMember, Judgement } from '../raid/md/model.js';
import { type CheckContext, type CheckedImage, isDirty, mayWrite } from './context.js';
import { type Finding, finding } from './findings.js';

const REBUILD_HINT = 'holdfast member add VOLUME --image FILE rebuilds its slot, on this image or on another';

export async function* checkMembers(context: CheckContext): AsyncGenerator<Finding> {
  const { judgement } = context;
  if (judgement === null) return;
  for (const { code, forbids, message, hint } of judgement.refusals) {
    yield finding(forbids === 'all' ? 'SET_NOT_ASSEMBLED' : 'SET_READ_ONLY', {}, message, {
      hint,
      reason: code,
    });
  }
  if (context.openFailure !== null) {
    const { message, hint } = context.openFailure;
    yield finding('SET_NOT_ASSEMBLED', {}, message, { hint: hint ?? '', reason: 'NOT_OPENED' });
  }
  for (const member of judgement.members) yield* checkMember(context, judgement, member);
  yield* checkUnfinished(context, judgement);
}

function* checkMember(context: CheckContext, judgement: Judgement, member: JudgedMember): Generator<Finding> {
  const { image, slot, state, reason } = member;
  if (state === 'missing') {
    // One cause is one finding: what claims the slot and does not serve is told for itself.
    if (claimants(context, judgement, slot).length > 0) return;
    const spare = judgement.members.some((each) => each.state === 'spare');
    yield finding('MEMBER_MISSING', { slot: slot! }, reason, {
      hint: spare
        ? 'bring its image back; or holdfast member add VOLUME rebuilds it on the spare'
        : 'bring its image back; or holdfast member add VOLUME --image FILE rebuilds it on another',
    });
    return;
  }
  if (image === null || (state !== 'stale' && state !== 'faulty')) return;
  if (member.superblock === null) {
    yield* checkDamaged(context, judgement, image, member);
    return;
  }
  const where = { image, ...(slot === null ? {} : { slot }) };
  const successor = slot === null ? null : judgement.slots[slot];
  if (successor?.state === 'in-sync') {
    yield finding('MEMBER_REPLACED', where, `${successor.image} has its place: ${reason}`, {
      hint: 'it is of no more use to the array: keep it for what it holds, or use it for something else',
    });
  } else if (state === 'stale') {
    yield finding('MEMBER_STALE', where, reason, { hint: REBUILD_HINT });
  } else yield finding('MEMBER_FAULTY', where, reason, { hint: REBUILD_HINT });
}

/** Images that say that they are of this slot, or that may be, and are not in it. */
function claimants(context: CheckContext, judgement: Judgement, slot: number | null): JudgedMember[] {
  return judgement.members.filter(
    (member) =>
      member.image !== null &&
      ((member.slot === slot && slot !== null) || restoredSlot(context, member.image) === slot),
  );
}

function restoredSlot({ restorable }: CheckContext, image: string): number | null {
  const superblock = restorable.get(image);
  const role = superblock?.roles[superblock.deviceNumber];
  return typeof role === 'number' ? role : null;
}

/** The one superblock of a member is damaged, or the image lacks what the superblock says it has. */
function* checkDamaged(
  context: CheckContext,
  judgement: Judgement,
  image: string,
  { slot, reason }: JudgedMember,
): Generator<Finding> {
  const found = context.images.find((each) => each.image === image)!;
  const damage = found.damaged[0]!;
  const short = missingBytes(judgement, found, damage);
  if (short > 0) {
    const where = {
      image,
      ...(slot === null ? {} : { slot }),
      offsetBytes: found.device.size,
      lengthBytes: short,
    };
    yield finding('IMAGE_CUT_SHORT', where, `it ends at byte ${found.device.size}: ${damage.reason}`, {
      hint: `bring the rest back, or rebuild its slot: ${REBUILD_HINT}`,
    });
    return;
  }
  if (context.restorable.has(image)) return;
  const where = { image, ...(slot === null ? {} : { slot }), offsetBytes: damage.superOffset };
  yield finding('SUPERBLOCK_DAMAGED', where, reason, {
    hint: `what it was cannot be proven, so nothing is made up: ${REBUILD_HINT}`,
  });
}

/** Only of a superblock whose checksum and place are right: then it is the image that is wrong. */
function missingBytes(
  { freshest }: Judgement,
  { device }: CheckedImage,
  { claim }: DamagedSuperblock,
): number {
  if (claim === null || freshest === null || claim.setUuid !== freshest.setUuid) return 0;
  return Math.max(0, freshest.dataOffset + freshest.memberSizeBytes - device.size);
}

function* checkUnfinished(context: CheckContext, { slots, replacements }: Judgement): Generator<Finding> {
  const begun = [
    ...slots.filter((slot) => slot.state === 'rebuilding'),
    ...replacements.filter((member) => member !== null),
  ];
  const lacking = slots.filter((slot) => slot.state !== 'in-sync').length;
  // Dirty and without a whole member: what the rebuild would be made from is in doubt.
  const isTrusted = lacking === 0 || !isDirty(context);
  for (const { image, slot, reason, replacement } of begun) {
    const what = replacement ? 'it is to replace the member in its slot, and has not yet' : reason;
    yield finding('REBUILD_UNFINISHED', { image: image!, slot: slot! }, what, {
      hint: 'holdfast member add VOLUME goes on with it',
      repair: mayWrite(context) && isTrusted ? 'finish-rebuild' : null,
    });
  }
}
