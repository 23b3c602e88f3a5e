/** Every bench there is, in the order in which they run. */
import { UserError } from '../errors.js';
import { backup } from './backup.js';
import type { Bench } from './bench.js';
import { crashLab } from './crash-lab.js';
import { degradedReads } from './degraded-reads.js';
import { extents } from './extents.js';
import { kernels } from './kernels.js';
import { nbd } from './nbd.js';
import { rebuild } from './rebuild.js';
import { record } from './record.js';
import { recovery } from './recovery.js';
import { replication } from './replication.js';
import { scrub } from './scrub.js';
import { writes } from './writes.js';

export const BENCHES: readonly Bench[] = [
  kernels,
  writes,
  record,
  degradedReads,
  rebuild,
  scrub,
  recovery,
  nbd,
  extents,
  replication,
  backup,
  crashLab,
];

/**
 * The benches of these names, in the registry's order; all of them when none is named.
 * @throws UserError USAGE for a name that is none.
 */
export function chooseBenches(names: readonly string[]): readonly Bench[] {
  const unknown = names.find((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown !== undefined)
    throw new UserError('USAGE', `there is no benchmark "${unknown}"`, {
      hint: `one of: ${BENCHES.map((bench) => bench.name).join(', ')}`,
    });
  return names.length === 0 ? BENCHES : BENCHES.filter((bench) => names.includes(bench.name));
}
