/**
 * Which of the states that a cut may leave are looked at: for n volatile writes none, all and every prefix in the
 * order of submission; up to 10 every subset; beyond that kept sets of at most two and dropped sets of at most two;
 * tears of one write at a time; and seeded samples.
 *
 * Each of these is given once. A tear is looked at with none of the other writes kept, with all that were submitted
 * before it, and with all others: what stands beside a torn write matters more than which half of it is there.
 */
import type { SeededRandom } from './seeded-random.js';
import { KEPT, LOST, NOISE, type Tear } from './states-kept.js';

/** Up to so many volatile writes, every subset is looked at. */
export const EVERY_SUBSET = 10;
/** Drawn by the seed, for what no pattern comes upon. */
export const SAMPLES = 256;

/** The state that is chosen: see states-kept.ts, which is what this is called with. */
export interface Choosable {
  readonly count: number;
  readonly reachableBits: number;
  pieces(write: number): number;
  /** One piece of it is noise where it tears. */
  hasNoise(write: number): boolean;
  keep(write: number, isKept: boolean): void;
  tear(tears: ReadonlyMap<number, Tear>): void;
}

export interface ChoiceOptions {
  readonly random: SeededRandom;
}

export type ChoiceKind = 'subset' | 'tear' | 'sample';

const WHOLE: ReadonlyMap<number, Tear> = new Map();

/** Puts `state`, of which nothing is kept, into one state after the other; each is in place when it is given. */
export function* choices(state: Choosable, options: ChoiceOptions): Generator<ChoiceKind> {
  yield* prefixes(state);
  keepUpTo(state, 0);
  if (state.count <= EVERY_SUBSET) yield* otherSubsets(state);
  else yield* smallSets(state);
  yield* tears(state);
  yield* samples(state, options);
}

/** None comes first and all comes last. */
function* prefixes(state: Choosable): Generator<ChoiceKind> {
  yield 'subset';
  for (let write = 0; write < state.count; write++) {
    state.keep(write, true);
    yield 'subset';
  }
}

/** Those that are no prefixes, each one write away from the one before (a Gray code). Ends with none kept. */
function* otherSubsets(state: Choosable): Generator<ChoiceKind> {
  const end = 2 ** state.count;
  let kept = 0;
  for (let step = 1; step < end; step++) {
    const write = 31 - Math.clz32(step & -step);
    kept ^= 1 << write;
    state.keep(write, (kept & (1 << write)) !== 0);
    const isPrefix = (kept & (kept + 1)) === 0;
    if (!isPrefix) yield 'subset';
  }
  keepUpTo(state, 0);
}

/** One or two writes that differ from all the others, where that is no prefix. Ends with none kept. */
function* smallSets(state: Choosable): Generator<ChoiceKind> {
  const { count } = state;
  for (const isKept of [true, false]) {
    keepUpTo(state, isKept ? 0 : count);
    // As prefixes came: the first one or two kept, the last one or two dropped.
    const edge = isKept ? 0 : count - 1;
    const next = isKept ? 1 : count - 2;
    for (let one = 0; one < count; one++) {
      state.keep(one, isKept);
      if (one !== edge) yield 'subset';
      for (let other = one + 1; other < count; other++) {
        if (Math.min(edge, next) === one && Math.max(edge, next) === other) continue;
        state.keep(other, isKept);
        yield 'subset';
        state.keep(other, !isKept);
      }
      state.keep(one, !isKept);
    }
  }
  keepUpTo(state, 0);
}

function* tears(state: Choosable): Generator<ChoiceKind> {
  for (let write = 0; write < state.count; write++) {
    const patterns = tearPatterns(state.pieces(write), state.hasNoise(write));
    for (const kept of neighbours(write, state.count)) {
      for (let other = 0; other < state.count; other++) state.keep(other, other === write || kept(other));
      for (const pattern of patterns) {
        state.tear(new Map([[write, pattern]]));
        yield 'tear';
      }
      state.tear(WHOLE);
    }
  }
}

/** None of the others, those before it, all: where these are the same, once. */
function neighbours(write: number, count: number): ((other: number) => boolean)[] {
  const before = (other: number) => other < write;
  const sets = [() => false];
  if (write > 0) sets.push(before as () => boolean);
  if (write < count - 1) sets.push(() => true);
  return sets;
}

/** The first piece, half, all but the last, the last alone, every other one. */
export function tearPatterns(pieces: number, hasNoise: boolean): Tear[] {
  const keeps: ((piece: number) => boolean)[] = [
    (piece) => piece === 0,
    (piece) => piece < Math.floor(pieces / 2),
    (piece) => piece < pieces - 1,
    (piece) => piece === pieces - 1,
    (piece) => piece % 2 === 0,
  ];
  if (pieces === 1) return hasNoise ? [Uint8Array.of(NOISE)] : [];
  const patterns = new Map<string, Tear>();
  for (const keep of keeps) {
    const pattern = Uint8Array.from({ length: pieces }, (_, piece) => (keep(piece) ? KEPT : LOST));
    if (pattern.includes(LOST)) patterns.set(pattern.join(), noisy(pattern, hasNoise));
  }
  return [...patterns.values()];
}

/** Where the write tore is what it lost first. */
function noisy(pattern: Tear, hasNoise: boolean): Tear {
  if (hasNoise) pattern[pattern.indexOf(LOST)] = NOISE;
  return pattern;
}

/** How likely a write, or a piece of one, is kept is drawn for each sample, so that there are full and empty ones. */
function* samples(state: Choosable, options: ChoiceOptions): Generator<ChoiceKind> {
  const { random } = options;
  const pieces = Array.from({ length: state.count }, (_, write) => state.pieces(write));
  const hasNoise = pieces.map((_, write) => state.hasNoise(write));
  const canTear = hasNoise.includes(true) || pieces.some((count) => count > 1);
  if (state.count <= EVERY_SUBSET && !canTear) return;
  const samples = Math.min(SAMPLES, Math.ceil(2 ** state.reachableBits));
  for (let sample = 0; sample < samples; sample++) {
    state.tear(WHOLE);
    const likely = random.next();
    const torn = new Map<number, Tear>();
    for (const [write, count] of pieces.entries()) {
      const isKept = random.chance(likely);
      state.keep(write, isKept);
      if (!isKept || (count === 1 && !hasNoise[write]!) || random.chance(0.5)) continue;
      const tear = Uint8Array.from({ length: count }, () => (random.chance(likely) ? KEPT : LOST));
      if (tear.includes(LOST)) torn.set(write, noisy(tear, hasNoise[write]!));
    }
    state.tear(torn);
    yield 'sample';
  }
  state.tear(WHOLE);
}

/** Keeps the first `end` writes and no other. */
function keepUpTo(state: Choosable, end: number): void {
  for (let write = 0; write < state.count; write++) state.keep(write, write < end);
}
