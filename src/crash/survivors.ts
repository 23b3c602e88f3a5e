/**
 * Which parts of the volatile writes a cut keeps, drawn from a seed. Which writes are volatile is power-cut.ts's.
 *
 * Invariants
 * - What is kept of a write are whole atoms of the profile: a write within one atom is there or is not.
 * - Every state that the model allows can be drawn (`sectors` reaches all of them); the other ways are there because
 *   what they leave is likelier on a real device than a mixture of everything.
 */
import { RangeSet } from '../device/range-set.js';
import type { CrashProfile } from './profiles.js';
import type { SeededRandom } from './seeded-random.js';
import type { Operation } from './trace.js';

const SECTOR_BYTES = 512;
/** A write of more atoms than this (zeroes over a whole image) is dealt with in larger pieces. */
const MAX_PIECES = 65_536;

/**
 * `prefix`: the first so many, in the order of submission. `writes`: any of them, each whole. `torn`: as
 * `writes`, with a part of one more. `sectors`: any atoms of any.
 */
export type CutKind = 'none' | 'all' | 'prefix' | 'writes' | 'torn' | 'sectors';

/** What is left of one volatile write. */
export interface Survivor {
  readonly operation: Operation;
  /** Bytes of the device that hold what was written. */
  readonly kept: RangeSet;
  /** One sector that holds neither this write nor what was there before. */
  readonly noise: { readonly offset: number; readonly bytes: Uint8Array } | null;
}

export interface Survivors {
  readonly kind: CutKind;
  /** Of those writes alone that anything is left of. */
  readonly writes: readonly Survivor[];
}

/** `volatile`: of all devices, in the order of submission. */
export function chooseSurvivors(
  volatile: readonly Operation[],
  profile: CrashProfile,
  random: SeededRandom,
): Survivors {
  const tearable = volatile.filter((write) => isTearable(write, profile));
  const kind = random.pick(kindsFor(volatile, tearable, profile));
  const torn = kind === 'torn' ? random.pick(tearable) : null;
  const prefix = random.between(1, Math.max(1, volatile.length - 1));
  const survivors = volatile.map((operation, index): Survivor => {
    if (operation === torn) return tear(operation, profile, random);
    if (kind === 'sectors') return { operation, kept: mixture(operation, profile, random), noise: null };
    const isKept =
      kind === 'all' ||
      (kind === 'prefix' && index < prefix) ||
      ((kind === 'writes' || kind === 'torn') && random.chance(0.5));
    return { operation, kept: isKept ? whole(operation) : new RangeSet(), noise: null };
  });
  return { kind, writes: survivors.filter(({ kept, noise }) => !kept.isEmpty || noise !== null) };
}

function isTearable(write: Operation, profile: CrashProfile): boolean {
  return profile.hasNoise || piecesOf(write, profile).length > 1;
}

function kindsFor(
  volatile: readonly Operation[],
  tearable: readonly Operation[],
  { hasNoise }: CrashProfile,
): CutKind[] {
  if (volatile.length === 0) return ['none'];
  const kinds: CutKind[] = ['none', 'all', 'prefix', 'writes'];
  if (tearable.length > 0) kinds.push('torn');
  // A mixture tears many writes at once; each would owe its sector of noise.
  if (tearable.length > 0 && !hasNoise) kinds.push('sectors');
  return kinds;
}

interface Piece {
  readonly start: number;
  readonly end: number;
}

/** The write, cut where the profile lets it tear. */
function piecesOf({ offset, length }: Operation, { atomBytes }: CrashProfile): Piece[] {
  const end = offset + length;
  if (atomBytes === Number.POSITIVE_INFINITY) return [{ start: offset, end }];
  const step = atomBytes * Math.ceil(length / atomBytes / MAX_PIECES);
  const pieces: Piece[] = [];
  for (let start = offset; start < end; ) {
    const next = Math.min(end, (Math.floor(start / step) + 1) * step);
    pieces.push({ start, end: next });
    start = next;
  }
  return pieces;
}

function whole({ offset, length }: Operation): RangeSet {
  return new RangeSet([{ start: offset, end: offset + length }]);
}

function mixture(operation: Operation, profile: CrashProfile, random: SeededRandom): RangeSet {
  return pick(piecesOf(operation, profile), () => random.chance(0.5));
}

function pick(pieces: readonly Piece[], isKept: (index: number) => boolean): RangeSet {
  return new RangeSet(pieces.filter((_, index) => isKept(index)));
}

/** At least one piece is lost and, where there are two, at least one is kept. */
function tear(operation: Operation, profile: CrashProfile, random: SeededRandom): Survivor {
  const pieces = piecesOf(operation, profile);
  const isKept = pattern(pieces.length, random);
  const lost = pieces.filter((_, index) => !isKept(index));
  const kept = pick(pieces, isKept);
  if (!profile.hasNoise) return { operation, kept, noise: null };
  const { start, end } = random.pick(lost);
  const offset = start + SECTOR_BYTES * random.below((end - start) / SECTOR_BYTES);
  return { operation, kept, noise: { offset, bytes: random.bytes(SECTOR_BYTES) } };
}

/** How a device tears `count` pieces: it stops, it began at the far end, it had several heads, or no rule at all. */
function pattern(count: number, random: SeededRandom): (index: number) => boolean {
  if (count === 1) return () => false;
  const at = random.between(1, count - 1);
  const alwaysKept = random.below(count);
  const alwaysLost = (alwaysKept + random.between(1, count - 1)) % count;
  const fates = Array.from({ length: count }, () => random.chance(0.5));
  fates[alwaysKept] = true;
  fates[alwaysLost] = false;
  return random.pick([
    (index: number) => index < at,
    (index: number) => index >= at,
    (index: number) => index % 2 === at % 2,
    (index: number) => fates[index]!,
  ]);
}
