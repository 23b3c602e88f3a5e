/**
 * Who fills which slot, once each member has been judged by itself.
 *
 * Of two images that claim one slot and are both current, one is a copy. Which was written since nobody can
 * tell, so both stay and the set is refused (see judge-refusals.ts).
 */
import type { JudgedMember } from './model.js';

export interface Filled {
  readonly slots: readonly JudgedMember[];
  readonly replacements: readonly (JudgedMember | null)[];
  /** All, with what slot and replacement changed in them. */
  readonly members: readonly JudgedMember[];
  /** Members that are current and claim the same place. */
  readonly duplicates: readonly (readonly JudgedMember[])[];
}

export function fillSlots(judged: readonly JudgedMember[], raidDisks: number): Filled {
  const members = judged.map((member) => withoutReusedNumber(member, judged));
  const slots: JudgedMember[] = [];
  const replacements: (JudgedMember | null)[] = [];
  const duplicates: JudgedMember[][] = [];
  for (let slot = 0; slot < raidDisks; slot++) {
    const current = members.filter((member) => member.slot === slot && isCurrent(member)).sort(byName);
    const originals = current.filter((member) => !member.replacement);
    const successors = current.filter((member) => member.replacement);
    for (const rivals of [originals, successors]) if (rivals.length > 1) duplicates.push(rivals);
    const [original] = originals;
    const [successor] = successors;
    slots.push(original ?? promoted(successor, members) ?? missing(slot, members));
    replacements.push(original === undefined ? null : (successor ?? null));
  }
  return { slots, replacements, members, duplicates };
}

/** So that of two copies the same is shown first, whichever was given first. */
function byName(a: JudgedMember, b: JudgedMember): number {
  if (a.image === b.image) return 0;
  return (a.image ?? '') < (b.image ?? '') ? -1 : 1;
}

function isCurrent(member: JudgedMember): boolean {
  return member.state === 'in-sync' || member.state === 'rebuilding';
}

/** Kernel: a replacement whose original is gone takes its place (raid5.c, raid5_run). */
function promoted(successor: JudgedMember | undefined, members: JudgedMember[]): JudgedMember | undefined {
  if (successor === undefined) return undefined;
  const inPlace = { ...successor, replacement: false };
  members[members.indexOf(successor)] = inPlace;
  return inPlace;
}

function missing(slot: number, members: readonly JudgedMember[]): JudgedMember {
  const claimants = members.filter((member) => member.slot === slot && member.image !== null);
  const reason =
    claimants.length === 0
      ? 'no image for this slot was given'
      : claimants.map((member) => `${member.image} is ${member.state}`).join(', ');
  return { image: null, device: null, superblock: null, state: 'missing', slot, replacement: false, reason };
}

/**
 * 0.90 gives numbers anew: a member that dropped out can claim the slot and number that another took over. One
 * event behind an equal claimant, it is the one that dropped out.
 */
function withoutReusedNumber(member: JudgedMember, judged: readonly JudgedMember[]): JudgedMember {
  const { superblock } = member;
  if (superblock?.version !== '0.90' || !isCurrent(member)) return member;
  const newer = judged.find(
    (other) =>
      other !== member &&
      isCurrent(other) &&
      other.slot === member.slot &&
      (other.superblock?.events ?? 0n) > superblock.events,
  );
  if (newer === undefined) return member;
  return { ...member, state: 'stale', reason: `${newer.image} has taken its place and has more events` };
}
