/**
 * The fewest of some things with which something holds still: by halves first, then by quarters, down to single ones, until none can go
 * (delta debugging: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002). What the things are, events of a trace
 * or what a cut has lost, is the caller's.
 */

export interface FewestOptions<Unit> {
  /** With these, in their order, and no others. It is true of all of them. */
  readonly holds: (units: readonly Unit[]) => Promise<boolean>;
  /** Asked before each try: whether it is enough. */
  readonly isOver: () => boolean;
  /** Called when some could go. */
  readonly onProgress?: (left: number) => void;
}

export async function fewest<Unit>(
  all: readonly Unit[],
  { holds, isOver, onProgress }: FewestOptions<Unit>,
): Promise<readonly Unit[]> {
  let units = all;
  const tryWithout = async (start: number, count: number): Promise<boolean> => {
    const fewer = units.toSpliced(start, count);
    if (!(await holds(fewer))) return false;
    units = fewer;
    onProgress?.(units.length);
    return true;
  };
  for (let count = Math.ceil(units.length / 2); count >= 1; count = count === 1 ? 0 : Math.ceil(count / 2)) {
    let hasChanged = true;
    while (hasChanged) {
      hasChanged = false;
      // From the end: what was asked for last needs what came before it, and not the other way round.
      for (let start = units.length - 1; start >= 0; start -= count) {
        if (isOver()) return units;
        const from = Math.max(0, start - count + 1);
        if (await tryWithout(from, start - from + 1)) hasChanged = count === 1;
      }
    }
  }
  return units;
}
