/**
 * What an exploring has seen of the orders in which writes may become durable: of each two roles (data, parity, a log, a disk) of which a cut may
 * keep a later write and lose an earlier one, whether it looked at such a state. A pair that never was says what no state could have shown.
 *
 * A write that tore counts as kept. Zeroes where there are zeroes are no writes here (states.ts).
 */
import type { KeptWrites } from './states-kept.js';
import type { Operation } from './trace.js';

/** The part that a write has, by where it lies. */
export type RoleOf = (operation: Operation) => string;

/** The one was asked for while the other was volatile still. */
export interface RolePair {
  readonly earlier: string;
  readonly later: string;
  /** A state was looked at that has the later one and not the earlier. */
  readonly isReordered: boolean;
}

interface Pair {
  readonly earlier: string;
  readonly later: string;
  /** How many states had been looked at when it was seen. */
  seenAt: number | null;
}

export class Coverage {
  readonly #pairs = new Map<string, Pair>();

  constructor(private readonly roleOf: RoleOf) {}

  /** Of one cut: to be called with each of its states, and how many there were by then. */
  at(state: KeptWrites): (states: number) => void {
    const roles = Array.from({ length: state.count }, (_, write) => this.roleOf(state.operation(write)));
    const open = this.#openPairs(roles);
    return (states) => {
      if (open.size === 0) return;
      for (const { earlier, later } of reordered(state, roles)) {
        const key = keyOf(earlier, later);
        const pair = open.get(key);
        if (pair === undefined) continue;
        pair.seenAt = states;
        open.delete(key);
      }
    };
  }

  /** As if no more states than these had been looked at. */
  takeBack(states: number): void {
    for (const pair of this.#pairs.values())
      if (pair.seenAt !== null && pair.seenAt > states) pair.seenAt = null;
  }

  get pairs(): RolePair[] {
    return [...this.#pairs.values()]
      .map(({ earlier, later, seenAt }) => ({ earlier, later, isReordered: seenAt !== null }))
      .sort((a, b) => compare(a.earlier, b.earlier) || compare(a.later, b.later));
  }

  /** Those that this cut makes possible, and that were not seen yet. */
  #openPairs(roles: readonly string[]): Map<string, Pair> {
    const open = new Map<string, Pair>();
    const before = new Set<string>();
    for (const later of roles) {
      for (const earlier of before) {
        const key = keyOf(earlier, later);
        const pair = this.#pairs.get(key) ?? { earlier, later, seenAt: null };
        this.#pairs.set(key, pair);
        if (pair.seenAt === null) open.set(key, pair);
      }
      before.add(later);
    }
    return open;
  }
}

/** Writes are in the order in which they were asked for. */
function* reordered(
  state: KeptWrites,
  roles: readonly string[],
): Generator<Pick<RolePair, 'earlier' | 'later'>> {
  const lost = new Set<string>();
  for (const [write, later] of roles.entries())
    if (!state.isKept(write)) lost.add(later);
    else for (const earlier of lost) yield { earlier, later };
}

const keyOf = (earlier: string, later: string): string => JSON.stringify([earlier, later]);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const MOST_NAMED = 6;

/** One line for people; null: no two writes were volatile at once. */
export function describeCoverage(pairs: readonly RolePair[]): string | null {
  if (pairs.length === 0) return null;
  const missing = pairs.filter(({ isReordered }) => !isReordered);
  const line = `reordered: ${pairs.length - missing.length} of ${pairs.length} pairs of roles`;
  if (missing.length === 0) return line;
  const named = missing
    .slice(0, MOST_NAMED)
    .map(({ earlier, later }) => `${later} without an earlier ${earlier}`);
  const more = missing.length > MOST_NAMED ? `, and ${missing.length - MOST_NAMED} more` : '';
  return `${line}; not seen: ${named.join(', ')}${more}`;
}
