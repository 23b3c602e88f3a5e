/**
 * What one image is to the array, by the word of the freshest superblock.
 *
 * Invariant: in-sync or rebuilding is only who is so by its own word and by the freshest's. A member's own
 * superblock alone proves nothing: the stale one still claims its slot. The freshest's alone neither: it may
 * have been written when the member's was not.
 */
import type { Candidate, Freshest } from './judge-freshest.js';
import type { ExaminedImage, JudgedMember, MemberState, Superblock } from './model.js';
import { ownRole, roleOf } from './superblock.js';

/** Events that a current member may be behind: a cut amid the writes of all superblocks. */
const CURRENT_BEHIND = 1n;

/** What is wrong with a set because of this member, beyond the member being set aside. */
export type Trouble = 'foreign' | 'unknown-feature';

export interface MemberVerdict {
  readonly member: JudgedMember;
  readonly trouble: Trouble | null;
}

/** A member that has a superblock of the set. */
export function judgeMember(candidate: Candidate, freshest: Freshest): MemberVerdict {
  const { superblock } = candidate;
  const behind = freshest.events - superblock.events;
  const difference = differenceOf(superblock, freshest.candidate.superblock);
  if (difference !== null) {
    if (difference.sameArray && behind > CURRENT_BEHIND) {
      return aside(candidate, 'stale', `${behindText(behind)}, and it differs in ${difference.text}`);
    }
    return aside(candidate, 'foreign', `it differs from the others in ${difference.text}`, 'foreign');
  }
  if (superblock.features.unknown !== 0) {
    const bits = `0x${superblock.features.unknown.toString(16)}`;
    return aside(
      candidate,
      'foreign',
      `it uses features of md that are not known here (bits ${bits})`,
      'unknown-feature',
    );
  }
  const role = ownRole(superblock);
  if (role === 'journal') return aside(candidate, 'spare', "it is the array's journal device");
  if (role === 'faulty') return aside(candidate, 'faulty', 'its own superblock says that it failed');
  if (role === 'spare') return judgeSpare(candidate, freshest);
  if (role >= superblock.raidDisks) {
    return aside(candidate, 'faulty', `it claims slot ${role} of an array of ${superblock.raidDisks}`);
  }
  if (behind > CURRENT_BEHIND) return aside(candidate, 'stale', behindText(behind));
  if (freshest.excludes(candidate)) return judgeExcluded(candidate, freshest);
  return judgeCurrent(candidate, role);
}

function judgeCurrent(candidate: Candidate, slot: number): MemberVerdict {
  const { superblock } = candidate;
  const { recoveryOffset } = superblock;
  const replacement = superblock.features.replacement;
  if (recoveryOffset === null)
    return { member: memberOf(candidate, 'in-sync', slot, replacement, ''), trouble: null };
  const done = Math.floor((100 * recoveryOffset) / superblock.memberSizeBytes);
  const reason = `it was rebuilt up to byte ${recoveryOffset} of ${superblock.memberSizeBytes} (${done}%)`;
  return { member: memberOf(candidate, 'rebuilding', slot, replacement, reason), trouble: null };
}

function judgeExcluded(candidate: Candidate, freshest: Freshest): MemberVerdict {
  const told = roleOf(freshest.candidate.superblock, candidate.superblock.deviceNumber);
  const by = freshest.candidate.image.image;
  if (told === 'faulty') return aside(candidate, 'faulty', `${by} has recorded that it failed`);
  return aside(candidate, 'stale', `${by} has recorded that it is not part of the array any more`);
}

/** Its event count does not matter: it holds nothing. */
function judgeSpare(candidate: Candidate, freshest: Freshest): MemberVerdict {
  const told = roleOf(freshest.candidate.superblock, candidate.superblock.deviceNumber);
  if (told === 'faulty')
    return aside(candidate, 'faulty', `${freshest.candidate.image.image} has recorded that it failed`);
  return aside(candidate, 'spare', 'it is a spare');
}

/** An image of which no superblock is good: `setUuid` is the array's, if there is one. */
export function judgeWithout(image: ExaminedImage, setUuid: string | null, raidDisks: number): JudgedMember {
  const [damage] = image.damaged;
  const base = { image: image.image, device: image.device, superblock: null, replacement: false };
  if (damage === undefined) {
    return { ...base, state: 'foreign', slot: null, reason: 'it has no md superblock' };
  }
  const where = `its superblock ${damage.version} at byte ${damage.superOffset} cannot be used`;
  const { claim } = damage;
  if (claim !== null && setUuid !== null && claim.setUuid !== setUuid) {
    return {
      ...base,
      state: 'foreign',
      slot: null,
      reason: `it belongs to array ${claim.setUuid}; ${where}: ${damage.reason}`,
    };
  }
  const slot = typeof claim?.role === 'number' && claim.role < raidDisks ? claim.role : null;
  return { ...base, state: 'faulty', slot, reason: `${where}: ${damage.reason}` };
}

/** A member of another array, or one that nobody may tell from another. */
export function judgeForeign(candidate: Candidate, reason: string): JudgedMember {
  return memberOf(candidate, 'foreign', null, false, reason);
}

function aside(
  candidate: Candidate,
  state: MemberState,
  reason: string,
  trouble: Trouble | null = null,
): MemberVerdict {
  const role = ownRole(candidate.superblock);
  const slot =
    typeof role === 'number' && state !== 'foreign' && role < candidate.superblock.raidDisks ? role : null;
  return { member: memberOf(candidate, state, slot, false, reason), trouble };
}

function memberOf(
  candidate: Candidate,
  state: MemberState,
  slot: number | null,
  replacement: boolean,
  reason: string,
): JudgedMember {
  const { image, superblock } = candidate;
  return { image: image.image, device: image.device, superblock, state, slot, replacement, reason };
}

function behindText(behind: bigint): string {
  return `it is ${behind} events behind: it missed writes`;
}

/** What must be the same on all members. `sameArray`: an older state of the same array can look like this. */
function differenceOf(own: Superblock, reference: Superblock): { text: string; sameArray: boolean } | null {
  if (own.version !== reference.version) {
    return { text: `metadata version (${own.version}, not ${reference.version})`, sameArray: false };
  }
  if (own.ctime !== reference.ctime) {
    return {
      text: `creation time (${isoTime(own.ctime)}, not ${isoTime(reference.ctime)})`,
      sameArray: false,
    };
  }
  const fields = [
    ['level', own.level, reference.level],
    ['layout', own.layout, reference.layout],
    ['chunk', own.chunkBytes, reference.chunkBytes],
    ['number of members', own.raidDisks, reference.raidDisks],
    ['used size', own.memberSizeBytes, reference.memberSizeBytes],
  ] as const;
  const differing = fields.filter(([, is, should]) => is !== should);
  if (differing.length === 0) return null;
  return {
    text: differing.map(([name, is, should]) => `${name} (${is}, not ${should})`).join(', '),
    sameArray: true,
  };
}

/** 40 bits of seconds reach further than a Date. */
function isoTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString();
}
