/** Numbers of 64 bits from disk as numbers that can be counted with. */

/** null: no engine ever comes so far. */
export function countable(value: bigint): number | null {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;
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
