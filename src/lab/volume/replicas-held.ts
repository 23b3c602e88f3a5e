/**
 * Replicas of a volume in a state after a cut: what is dirty is copied, as whenever a volume is opened, and then each is to hold what the volume
 * holds. So whatever differed was known to be dirty, however old or torn the maps were.
 */
import type { Breach } from '../../crash/explorer-failure.js';
import type { Volume } from '../../volume/model.js';

/** Of an open volume. Ends when all are in sync. Throws what keeps one from that. */
export async function replicasDiffer({ tracking }: Volume): Promise<Breach | null> {
  const { replicas } = tracking;
  if (replicas === null) return null;
  for (const { name } of replicas.list().filter(({ state }) => state !== 'paused')) {
    const { ranges } = await replicas.verify(name, false, new AbortController().signal);
    const [first] = ranges;
    if (first === undefined) continue;
    return {
      invariant: 'a replica in sync differs',
      message: `replica ${name} is in sync, and differs at offset ${first.offsetBytes}`,
    };
  }
  return null;
}
