/** Numbers of 64 bits from disk as numbers that can be counted with. */

/** No engine ever comes so far; and what comes next can still be counted. */
const MOST = 2n ** 52n;

/** null: it is more than that. */
function countable(value: bigint): number | null {
  return value <= MOST ? Number(value) : null;
}

/** All of them, or null. */
export function allCountable<const K extends string>(values: Record<K, bigint>): Record<K, number> | null {
  const found: Partial<Record<K, number>> = {};
  for (const [name, value] of Object.entries(values) as [K, bigint][]) {
    const number = countable(value);
    if (number === null) return null;
    found[name] = number;
  }
  return found as Record<K, number>;
}
