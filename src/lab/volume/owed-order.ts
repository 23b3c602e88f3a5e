/**
 * The order that a volume of files keeps (docs/extents.md, "What it promises"): what is there after a cut is what some of the requests have made,
 * each as a whole, and none of them without those that were answered before it was asked for. An ordinary disk promises no such thing.
 *
 * What a sector holds tells of a request that it is there, where nothing else would leave that; and of others that they are not, where they came
 * after all that would. Requests that were under way together have no order, and tell nothing of each other. So what is said to be a fault is one;
 * where several requests would leave the same, a fault may be hidden.
 */
import type { Asked, OwedSector, Version } from './owed.js';

export interface OutOfOrder {
  readonly there: Asked;
  readonly missing: Asked;
}

/** `contents`: of each sector, by its numbers; negative: it is not known. `told`: so many requests had been made, or answered. */
export function outOfOrder(
  sectors: readonly OwedSector[],
  contents: Int32Array,
  told: number,
): OutOfOrder | null {
  let newest: Asked | null = null;
  const there = new Set<Asked>();
  const missing = new Set<Asked>();
  for (const [at, { versions }] of sectors.entries()) {
    const content = contents[at]!;
    if (content < 0) continue;
    const made = versions.filter(({ asked }) => asked === null || asked.askedAt < told);
    const [one, another] = made.filter((_, index) => mayShow(made, index, content));
    if (one !== undefined && another === undefined && one.asked !== null) {
      there.add(one.asked);
      if (newest === null || one.asked.askedAt > newest.askedAt) newest = one.asked;
    }
    for (const each of notThere(made, content)) missing.add(each);
  }
  for (const each of missing) {
    if (there.has(each)) return { there: each, missing: each };
    if (newest !== null && each.answeredAt < newest.askedAt) return { there: newest, missing: each };
  }
  return null;
}

/** The last of those that were applied may be this one. */
function mayShow(made: readonly Version[], index: number, content: number): boolean {
  const { contents, isTrim } = made[index]!;
  // What a trim has left may be what was there before, whatever that was.
  return contents.includes(content) || isTrim;
}

/** Those that came after all that may be shown. */
function notThere(made: readonly Version[], content: number): Asked[] {
  const shown = made.filter((_, index) => mayShow(made, index, content));
  return made.flatMap(({ asked, contents, isTrim }) => {
    if (asked === null || isTrim || contents.includes(content)) return [];
    const isAfterAll = shown.every((each) => each.asked === null || each.asked.answeredAt < asked.askedAt);
    return isAfterAll ? [asked] : [];
  });
}
