/** How many states of replication the long run has, and for whom. */
import { statesOr } from '../long-run.js';

/** Different states are what takes time: each cut has its share of them. */
export const IMAGES_PER_CUT = 20;

/** Of a primary with its secondaries there is more to be cut than of a secondary alone. */
const SHARES = { pair: 0.45, several: 0.35, secondary: 0.2 } as const;

export function statesOf(what: keyof typeof SHARES, workloads: number): number {
  return (statesOr(1_200_000) * SHARES[what]) / workloads;
}
