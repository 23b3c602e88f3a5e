/**
 * Which superblock of a set all others are judged by, and who contradicts it.
 *
 * The freshest has the most events of those that claim a slot (Linux drivers/md/md.c, analyze_sbs: a spare
 * never counts). Of several with as many the result does not depend on the order in which images were given:
 * who is excluded by an equal does not count, then the one with most left to resync.
 *
 * A member with as many events as the freshest may still be out: the kernel takes its event count back when
 * an array goes clean, so that a member whose superblock write failed can keep a number that the others come
 * to again, with it excluded. Therefore one equal that excludes it is enough. Two histories that exclude each
 * other are not to be told apart: split brain.
 */
import type { ExaminedImage, Superblock } from './model.js';
import { ownRole, roleOf } from './superblock.js';

export interface Candidate {
  readonly image: ExaminedImage;
  readonly superblock: Superblock;
}

export interface Freshest {
  readonly candidate: Candidate;
  readonly events: bigint;
  /** Members whose history excludes what the freshest includes; null: there are none. */
  readonly splitBrain: readonly [Candidate, Candidate] | null;
  /** Who is out by the word of another, though its own superblock claims a slot. */
  excludes(candidate: Candidate): boolean;
}

/** `candidates` are of one set, at least one. */
export function findFreshest(candidates: readonly Candidate[]): Freshest {
  const claimants = candidates.filter(claimsSlot);
  const pool = claimants.length > 0 ? claimants : candidates;
  const events = maxEvents(pool);
  const tier = pool.filter((candidate) => candidate.superblock.events === events);
  const standing = tier.filter((candidate) => !tier.some((other) => isOut(other, candidate)));
  const [first] = [...(standing.length > 0 ? standing : tier)].sort(mostToResyncFirst);
  const candidate = first!;
  return {
    candidate,
    events,
    splitBrain: findSplitBrain(tier, candidate, claimants),
    excludes: (other) =>
      claimsSlot(other) &&
      (other.superblock.events < events ? isOut(candidate, other) : tier.some((each) => isOut(each, other))),
  };
}

export function claimsSlot(candidate: Candidate): boolean {
  return typeof ownRole(candidate.superblock) === 'number';
}

export function maxEvents(candidates: readonly Candidate[]): bigint {
  let most = 0n;
  for (const { superblock } of candidates) if (superblock.events > most) most = superblock.events;
  return most;
}

/** Whether `by` says that `whom` is not where `whom` itself claims to be. */
function isOut(by: Candidate, whom: Candidate): boolean {
  if (by === whom) return false;
  const claimed = ownRole(whom.superblock);
  return typeof claimed === 'number' && roleOf(by.superblock, whom.superblock.deviceNumber) !== claimed;
}

function findSplitBrain(
  tier: readonly Candidate[],
  freshest: Candidate,
  claimants: readonly Candidate[],
): readonly [Candidate, Candidate] | null {
  for (const one of tier) {
    for (const other of tier) {
      if (!isOut(one, other)) continue;
      const third = tier.find((each) => isOut(other, each) && !isOut(one, each));
      if (third !== undefined) return [one, other];
    }
  }
  const oneBehind = freshest.superblock.events - 1n;
  const rival = claimants.find(
    (each) => each.superblock.events === oneBehind && isOut(freshest, each) && isOut(each, freshest),
  );
  return rival === undefined ? null : [freshest, rival];
}

function mostToResyncFirst(a: Candidate, b: Candidate): number {
  const left = (candidate: Candidate): number => candidate.superblock.resyncOffset ?? Number.MAX_SAFE_INTEGER;
  return (
    left(a) - left(b) ||
    a.superblock.deviceNumber - b.superblock.deviceNumber ||
    compare(a.superblock.deviceUuid, b.superblock.deviceUuid) ||
    compare(a.image.image, b.image.image)
  );
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
