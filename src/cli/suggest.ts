/**
 * "Did you mean": the nearest of the known words by edit distance, and none where nothing is near. The
 * distance counts a swap of neighbours as one edit, as that is the commonest slip of the fingers.
 */

/** Edits (insert, drop, change, swap of neighbours) from one word to the other: optimal string alignment. */
export function editDistance(from: string, to: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const change = (previous[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const drop = (previous[j] ?? 0) + 1;
      const insert = (row[j - 1] ?? 0) + 1;
      let best = Math.min(change, drop, insert);
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        best = Math.min(best, (beforePrevious[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[to.length] ?? 0;
}

/**
 * The known words nearest to `typed`, best first, at most three. Near is at most a third of the longer word's
 * length (at least one edit), or `typed` begins the word.
 */
export function nearest(typed: string, known: readonly string[]): string[] {
  const word = typed.toLowerCase();
  const scored = known.map((candidate) => ({
    candidate,
    distance: candidate.startsWith(word) && word.length >= 2 ? 0.5 : editDistance(word, candidate),
    limit: Math.max(1, Math.floor(Math.max(word.length, candidate.length) / 3)),
  }));
  const near = scored.filter(({ distance, limit }) => distance <= limit);
  near.sort((a, b) => a.distance - b.distance || a.candidate.localeCompare(b.candidate, 'en'));
  const best = near[0]?.distance;
  return near
    .filter(({ distance }) => distance === best)
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}

/** `did you mean "create"?`, or undefined where nothing is near. */
export function didYouMean(
  typed: string,
  known: readonly string[],
  show = (word: string) => `"${word}"`,
): string | undefined {
  const words = nearest(typed, known).map(show);
  return words.length === 0 ? undefined : `did you mean ${words.join(' or ')}?`;
}
