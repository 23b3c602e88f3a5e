/** Snapshots held against what their moments held. */
import { expect } from 'vitest';
import { contentOf, firstDifference } from '../../../src/lab/self/snapshot/kept-snapshots.js';
import type { Snapshots } from '../../../src/snapshot/snapshots.js';

/** Each good snapshot shows what its moment held. */
export async function expectMoments(
  snapshots: Snapshots,
  held: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  for (const { name, kind, state, why } of snapshots.list()) {
    if (kind === 'mark') continue;
    expect(`${name} ${state} ${why}`).toBe(`${name} good null`);
    const view = snapshots.view(name);
    const at = firstDifference(await contentOf(view), held.get(name)!);
    await view.close();
    expect(`${name} differs at block ${at}`).toBe(`${name} differs at block -1`);
  }
}
