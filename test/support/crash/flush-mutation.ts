/**
 * Flush mutation (docs/crash-model.md): every place that asks for a barrier is found by the call itself, and left out in turn.
 * Something must then be wrong after some cut: where nothing is, the place is not needed, or its workloads have a hole.
 */
import { expect } from 'vitest';
import type { Report } from '../../../src/crash/explorer-report.js';

/** What is found where no cut does harm. */
export const NOTHING = 'nothing';

/** `W`: what is done until a cut; `P`: what leaves barriers out of it. */
export interface FlushMutation<W extends { readonly name: string }, P> {
  readonly workloads: readonly W[];
  /** The barriers of the sites of which this is false. */
  leavingOut(keeps: (site: string) => boolean): P;
  /** Long enough for every place to come by. It leaves none out, and fails where a cut does harm. */
  look(workload: W, plant: P): Promise<void>;
  /** What is wrong after some cut, or NOTHING. */
  search(workloads: readonly W[], plant: P): Promise<string>;
  /** Sites of which nothing is missed here. */
  readonly apartFrom?: RegExp;
  readonly leastSites: number;
}

/** The invariants that the first report with failures names, or NOTHING. */
export async function firstFailure(reports: AsyncIterable<Report>): Promise<string> {
  for await (const { failures } of reports)
    if (failures.length > 0) return failures.map(({ invariant }) => invariant).join();
  return NOTHING;
}

/** With the workloads that come by: no other can miss it. */
async function sitesOf<W extends { readonly name: string }, P>(
  mutation: FlushMutation<W, P>,
): Promise<Map<string, Set<W>>> {
  const sites = new Map<string, Set<W>>();
  for (const workload of mutation.workloads) {
    const noting = mutation.leavingOut((site) => {
      sites.set(site, (sites.get(site) ?? new Set()).add(workload));
      return true;
    });
    await mutation.look(workload, noting);
  }
  return sites;
}

/** Every site is missed when its barriers are left out. */
export async function expectEachMissed<W extends { readonly name: string }, P>(
  mutation: FlushMutation<W, P>,
): Promise<void> {
  const { apartFrom, leastSites } = mutation;
  const found = new Map<string, string>();
  const needless: string[] = [];
  for (const [site, workloads] of await sitesOf(mutation)) {
    if (apartFrom?.test(site) === true) continue;
    const without = mutation.leavingOut((each) => each !== site);
    const wrong = await mutation.search([...workloads], without);
    found.set(site, wrong);
    if (wrong === NOTHING) needless.push(`${site} (in ${[...workloads].map(({ name }) => name).join(', ')})`);
  }
  console.log([...found].map(([site, wrong]) => `${site}: ${wrong}`).join('\n'));
  expect(needless).toEqual([]);
  expect(found.size).toBeGreaterThanOrEqual(leastSites);
}
