/** Workloads of replication, explored for minutes: how many states there are for whom. */
import { REPLICAS } from '../../../src/lab/self/layers.js';
import { describeLongRun, statesOr, WITH_NOISE } from '../long-run.js';

/** Of a primary with its secondaries there is more to be cut than of a secondary alone. */
const SHARES = { pair: 0.45, several: 0.35, secondary: 0.2 } as const;

export function describeReplicas(title: string, which: keyof typeof REPLICAS): void {
  const workloads = REPLICAS[which];
  describeLongRun({
    ...{ title, workloads, shares: WITH_NOISE },
    states: (statesOr(1_200_000) * SHARES[which]) / workloads.length,
    maxImagesPerCut: 20,
  });
}
