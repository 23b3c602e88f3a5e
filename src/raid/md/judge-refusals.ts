/**
 * Why a set may not be used, fully or at all. Codes are stable, messages name members, hints say what can be
 * done.
 */
import type { Candidate, Freshest } from './judge-freshest.js';
import type { MemberVerdict } from './judge-member.js';
import type { Filled } from './judge-slots.js';
import type { ExaminedImage, JudgedMember, Refusal, Superblock } from './model.js';
import { RAID5_LEVEL } from './shape.js';

const MAX_EVENTS = 2n ** 63n;

export function noSuperblock(images: readonly ExaminedImage[]): Refusal {
  const damage = images.flatMap((image) => image.damaged.map((found) => `${image.image}: ${found.reason}`));
  const [first, ...others] = images;
  const what =
    first === undefined
      ? 'no image is there that could have an md superblock'
      : others.length === 0
        ? `${first.image} has no md superblock`
        : `none of ${images.length} images has an md superblock`;
  return {
    code: 'NO_SUPERBLOCK',
    forbids: 'all',
    message: damage.length === 0 ? what : `${what} that can be used (${damage.join('; ')})`,
    hint: 'give the images of the members of an array; examine shows what is on an image',
  };
}

export function mixedArrays(candidates: readonly Candidate[], uuids: readonly string[]): Refusal {
  const lists = uuids.map((uuid) => {
    const own = candidates.filter((candidate) => candidate.superblock.setUuid === uuid);
    const name = own[0]!.superblock.setName;
    return `${uuid}${name === '' ? '' : ` (${name})`}: ${own.map((candidate) => candidate.image.image).join(', ')}`;
  });
  return {
    code: 'MIXED_ARRAYS',
    forbids: 'all',
    message: `these are images of ${uuids.length} arrays. ${lists.join('. ')}`,
    hint: 'give the images of one array only',
  };
}

export function setNotFound(wanted: string | undefined, candidates: readonly Candidate[]): Refusal {
  const found = [...new Set(candidates.map((candidate) => candidate.superblock.setUuid))];
  return {
    code: 'SET_NOT_FOUND',
    forbids: 'all',
    message: `no image belongs to array ${wanted}; found ${found.join(', ')}`,
    hint: 'give the images of that array',
  };
}

interface SetFacts {
  readonly reference: Superblock;
  readonly freshest: Freshest;
  readonly verdicts: readonly MemberVerdict[];
  readonly filled: Filled;
}

/** What cannot be read at all comes first. */
export function setRefusals(facts: SetFacts): Refusal[] {
  const { reference } = facts;
  if (reference.level !== RAID5_LEVEL) return [wrongLevel(reference)];
  return [
    unknownFeature(facts),
    foreign(facts),
    splitBrain(facts.freshest),
    duplicates(facts.filled),
    clustered(reference),
    reshape(facts),
    tooFew(facts.filled),
    journal(reference),
    eventsAtTheirEnd(reference),
  ].filter((refusal) => refusal !== null);
}

function wrongLevel(reference: Superblock): Refusal {
  return {
    code: 'LEVEL',
    forbids: 'all',
    message: `the array is RAID level ${reference.level}, only level 5 is known here`,
    hint: 'mdadm on Linux assembles it',
  };
}

function unknownFeature({ verdicts }: SetFacts): Refusal | null {
  const members = troubled(verdicts, 'unknown-feature');
  if (members.length === 0) return null;
  return {
    code: 'UNKNOWN_FEATURE',
    forbids: 'all',
    message: members.map((member) => `${member.image}: ${member.reason}`).join('; '),
    hint: 'a newer version may know them; or mdadm of the machine that made the array',
  };
}

function foreign({ verdicts, reference }: SetFacts): Refusal | null {
  const members = troubled(verdicts, 'foreign');
  if (members.length === 0) return null;
  return {
    code: 'FOREIGN_MEMBER',
    forbids: 'all',
    message: `not all images that say they are of array ${reference.setUuid} can be: ${members
      .map((member) => `${member.image}: ${member.reason}`)
      .join('; ')}`,
    hint: 'leave out what does not belong to it',
  };
}

function splitBrain({ splitBrain: pair }: Freshest): Refusal | null {
  if (pair === null) return null;
  const [one, other] = pair;
  return {
    code: 'SPLIT_BRAIN',
    forbids: 'all',
    message: `${one.image.image} and ${other.image.image} were each used without the other: they hold two versions of the array`,
    hint: 'choose one version and leave the members of the other out',
  };
}

function duplicates({ duplicates: rivals }: Filled): Refusal | null {
  if (rivals.length === 0) return null;
  const lists = rivals.map(
    (members) => `slot ${members[0]!.slot}: ${members.map((member) => member.image).join(', ')}`,
  );
  return {
    code: 'DUPLICATE_MEMBER',
    forbids: 'all',
    message: `several images claim the same slot, one may be a copy of the other (${lists.join('; ')})`,
    hint: 'give only the one that was used last',
  };
}

function clustered(reference: Superblock): Refusal | null {
  if (!reference.features.clustered) return null;
  return {
    code: 'CLUSTERED',
    forbids: 'all',
    message: 'the array is shared by the machines of a cluster, others may be writing it',
    hint: 'make it an ordinary one with mdadm --grow --bitmap=internal first',
  };
}

/** Any current member's word counts: a reshape that has begun moves data. */
function reshape({ reference, filled }: SetFacts): Refusal | null {
  const moving = [reference, ...filled.slots.map((slot) => slot.superblock)].find(
    (each) => (each?.reshape ?? null) !== null,
  );
  if (moving === undefined) return null;
  return {
    code: 'RESHAPE',
    forbids: 'all',
    message: `a reshape is in progress, at byte ${moving?.reshape?.position ?? 0n} of the array`,
    hint: 'let mdadm on Linux finish it (mdadm --grow --continue)',
  };
}

function tooFew({ slots }: Filled): Refusal | null {
  const lacking = slots.filter((slot) => slot.state !== 'in-sync');
  if (lacking.length < 2) return null;
  const list = lacking.map((slot) => `slot ${slot.slot}: ${describeLacking(slot)}`);
  return {
    code: 'TWO_MEMBERS_MISSING',
    forbids: 'all',
    message: `${lacking.length} of ${slots.length} members are not there whole, RAID-5 can lack one (${list.join('; ')})`,
    hint: 'find the other images of the array; examine shows which array and slot an image belongs to',
  };
}

function describeLacking(slot: JudgedMember): string {
  return slot.image === null ? slot.reason : `${slot.image} is ${slot.state}, ${slot.reason}`;
}

/** They only rise, by one or two with every update; no honest array comes near the end of 64 bits. */
function eventsAtTheirEnd({ events }: Superblock): Refusal | null {
  if (events < MAX_EVENTS) return null;
  return {
    code: 'EVENTS',
    forbids: 'write',
    message: `the event count ${events} is at its end and cannot rise: whatever is written could not be told from what was`,
    hint: 'the superblock is not what the array wrote: read what is there to another volume',
  };
}

function journal(reference: Superblock): Refusal | null {
  if (!reference.features.journal) return null;
  return {
    code: 'JOURNAL',
    forbids: 'write',
    message:
      'the array has a journal device, which is not replayed here: what it holds and the members do not is not seen, and to write beside it would break the array',
    hint: 'assemble it once with mdadm on Linux, which replays the journal, and stop it; to write, take the journal away first',
  };
}

function troubled(verdicts: readonly MemberVerdict[], trouble: MemberVerdict['trouble']): JudgedMember[] {
  return verdicts.filter((verdict) => verdict.trouble === trouble).map((verdict) => verdict.member);
}
