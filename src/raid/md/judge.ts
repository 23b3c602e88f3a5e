/**
 * The verdict over a set of images: what each is, what the array is, and what may be done with it. Nothing is
 * read here but what examine.ts found, and nothing is ever guessed: what cannot be told is refused, with the
 * reason and what can be done.
 *
 * Invariants
 * - The verdict does not depend on the order in which the images were given (but for the order of `members`
 *   of one slot).
 * - A slot is filled by one image or by none.
 */
import { type Candidate, claimsSlot, findFreshest, maxEvents } from './judge-freshest.js';
import { judgeForeign, judgeMember, judgeWithout, type MemberVerdict } from './judge-member.js';
import { mixedArrays, noSuperblock, setNotFound, setRefusals } from './judge-refusals.js';
import { type Filled, fillSlots } from './judge-slots.js';
import type { ArraySet, ExaminedImage, JudgedMember, Judgement, Refusal, Superblock } from './model.js';
import { formatUuid, parseUuid } from './uuid.js';

export { type ArrayState, arrayState } from './array-state.js';

export interface JudgeOptions {
  /** Which array is meant, where images of several may be among them. In any of the usual forms. */
  readonly setUuid?: string;
}

export function judge(images: readonly ExaminedImage[], options: JudgeOptions = {}): Judgement {
  const wanted = normalUuid(options.setUuid);
  const candidates = images.flatMap((image) => {
    const superblock = image.superblocks.find((each) => each.setUuid === wanted) ?? image.superblocks[0];
    return superblock === undefined ? [] : [{ image, superblock }];
  });
  const uuids = [...new Set(candidates.map((candidate) => candidate.superblock.setUuid))].sort();
  const uuid = wanted ?? uuids[0];
  if (candidates.length === 0) return notASet(images, candidates, noSuperblock(images));
  if (wanted === undefined && uuids.length > 1)
    return notASet(images, candidates, mixedArrays(candidates, uuids));
  if (uuid === undefined || !uuids.includes(uuid))
    return notASet(images, candidates, setNotFound(wanted, candidates));
  return judgeSet(images, candidates, uuid);
}

/** No array to speak of: every image is foreign or damaged. */
function notASet(
  images: readonly ExaminedImage[],
  candidates: readonly Candidate[],
  refusal: Refusal,
): Judgement {
  const members = images.map((image) => {
    const candidate = candidates.find((each) => each.image === image);
    return candidate === undefined
      ? judgeWithout(image, null, 0)
      : judgeForeign(candidate, belongsTo(candidate));
  });
  return { set: null, freshest: null, slots: [], replacements: [], members, refusals: [refusal] };
}

function judgeSet(
  images: readonly ExaminedImage[],
  candidates: readonly Candidate[],
  uuid: string,
): Judgement {
  const own = candidates.filter((candidate) => candidate.superblock.setUuid === uuid);
  const freshest = findFreshest(referenceGroup(own));
  const reference = freshest.candidate.superblock;
  const verdicts = images.map((image): MemberVerdict => {
    const candidate = candidates.find((each) => each.image === image);
    if (candidate === undefined)
      return { member: judgeWithout(image, uuid, reference.raidDisks), trouble: null };
    if (candidate.superblock.setUuid !== uuid) {
      return { member: judgeForeign(candidate, belongsTo(candidate)), trouble: null };
    }
    return judgeMember(candidate, freshest);
  });
  const filled = fillSlots(
    verdicts.map((verdict) => verdict.member),
    reference.raidDisks,
  );
  return {
    set: arraySetOf(reference),
    freshest: reference,
    slots: filled.slots,
    replacements: filled.replacements,
    members: inOrder(filled),
    refusals: setRefusals({ reference, freshest, verdicts, filled }),
  };
}

/**
 * Superblocks of one UUID that were not made together (another version or creation time) are of different
 * arrays. The one that can run is meant; of none or several, the one with most events, and the rest is refused
 * as foreign anyway.
 */
function referenceGroup(candidates: readonly Candidate[]): readonly Candidate[] {
  const groups = new Map<string, Candidate[]>();
  for (const candidate of candidates) {
    const { version, ctime } = candidate.superblock;
    const key = `${version} ${ctime}`;
    groups.set(key, [...(groups.get(key) ?? []), candidate]);
  }
  const all = [...groups.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
  const running = all.filter(canRun);
  if (running.length === 1) return running[0]!;
  return all.reduce((best, group) => (maxEvents(group) > maxEvents(best) ? group : best));
}

function canRun(group: readonly Candidate[]): boolean {
  const current = group.filter(
    (candidate) => claimsSlot(candidate) && candidate.superblock.events + 1n >= maxEvents(group),
  );
  const slots = new Set(
    current.map((candidate) => candidate.superblock.roles[candidate.superblock.deviceNumber]),
  );
  return current.length > 0 && slots.size >= current[0]!.superblock.raidDisks - 1;
}

function arraySetOf(superblock: Superblock): ArraySet {
  const { chunkBytes, memberSizeBytes } = superblock;
  return {
    uuid: superblock.setUuid,
    name: superblock.setName,
    version: superblock.version,
    level: superblock.level,
    layout: superblock.layout,
    chunkBytes,
    raidDisks: superblock.raidDisks,
    memberSizeBytes: chunkBytes === 0 ? memberSizeBytes : memberSizeBytes - (memberSizeBytes % chunkBytes),
    ctime: superblock.ctime,
    events: superblock.events,
    resyncOffset: superblock.resyncOffset,
  };
}

/** Slot by slot: who fills it or is missing, its replacement, who else claims it; then all without a slot. */
function inOrder({ slots, replacements, members }: Filled): JudgedMember[] {
  const ordered = slots.flatMap((slot, index) => {
    const replacement = replacements[index] ?? null;
    const others = members.filter(
      (member) => member.slot === index && member !== slot && member !== replacement,
    );
    return [slot, ...(replacement === null ? [] : [replacement]), ...others];
  });
  const seen = new Set(ordered);
  return [...ordered, ...members.filter((member) => !seen.has(member))];
}

function belongsTo({ superblock }: Candidate): string {
  const name = superblock.setName === '' ? '' : ` (${superblock.setName})`;
  return `it belongs to array ${superblock.setUuid}${name}`;
}

/** An unusual form still names the same array; what is no UUID names none. */
function normalUuid(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const bytes = parseUuid(text);
  return bytes === null ? text : formatUuid(bytes);
}
