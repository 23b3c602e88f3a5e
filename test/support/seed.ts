/**
 * The seed of property tests: HOLDFAST_SEED where it is set; fast-check prints its own with every failure.
 */
export function seeded<T extends object>(options?: T): T & { seed?: number } {
  const given = process.env.HOLDFAST_SEED;
  return { ...(options as T), ...(given === undefined ? {} : { seed: Number(given) }) };
}
