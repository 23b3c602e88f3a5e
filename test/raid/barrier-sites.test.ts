/**
 * Flush mutation without a list (docs/crash-model.md): every place in the product that asks a member for a barrier is
 * found by the call itself, and taken out in turn. A cut must then break what holds with it; a place whose loss no
 * scenario shows is named, and fails this test.
 */
import { describe, it } from 'vitest';
import { expectEachMissed, NOTHING } from '../support/crash/flush-mutation.js';
import { type Barrier, callers } from '../support/crash/flush-sites.js';
import { SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import {
  complete,
  failing,
  losing,
  memberAway,
  rebuilding,
  recovering,
  replacing,
  type Scenario,
  withBitmap,
  withPpl,
} from '../support/power-cut.js';
import { healing, rebuildingBad } from '../support/power-cut-bad-blocks.js';

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  complete,
  withBitmap,
  withPpl,
  failing,
  losing,
  memberAway,
  rebuilding,
  recovering,
  replacing,
  healing,
  rebuildingBad,
};
/** To find the places in. */
const LOOKING_ROUNDS = 12;
const MAX_ROUNDS = 250;

type KeepsBarrier = (kind: Barrier) => boolean;

/** Functions that only hand a call on. */
const HANDING_FILES = /^(device\/|raid\/transfers\.ts$)/;
const HANDING_CALLS = /^ArrayMember\.(read|write|writeZeroes)$/;
/** Making a new array: nothing was promised of it before its maker has ended. */
const NO_PROMISE = /^raid\/create\.ts$/;

/** Who asks for the barrier that is being called; null: a test does. */
function siteOf(kind: Barrier): string | null {
  const caller = callers().find(({ path, name }) => !HANDING_FILES.test(path) && !HANDING_CALLS.test(name));
  if (caller === undefined || NO_PROMISE.test(caller.path)) return null;
  return `${caller.path} ${caller.name} ${kind}`;
}

/** As soon as a cut does harm: what. */
async function harmOf(scenario: Scenario, keepsBarrier: KeepsBarrier, random: SeededRandom): Promise<string> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const harm = await scenario({ random: new SeededRandom(random.below(2 ** 32)), keepsBarrier }).then(
      () => NOTHING,
      (error: unknown) => String(error).split('\n')[0]!,
    );
    if (harm !== NOTHING) return harm;
  }
  return NOTHING;
}

describe('every place that asks for a barrier', () => {
  it('is missed when it does not', { timeout: 600_000 }, () =>
    withSeed((random) =>
      expectEachMissed({
        workloads: Object.entries(SCENARIOS).map(([name, scenario]) => ({ name, scenario })),
        leavingOut:
          (keeps): KeepsBarrier =>
          (kind) => {
            const site = siteOf(kind);
            return site === null || keeps(site);
          },
        async look({ scenario }, keepsBarrier) {
          for (let round = 0; round < LOOKING_ROUNDS; round++) await scenario({ random, keepsBarrier });
        },
        async search(workloads, keepsBarrier) {
          for (const { scenario } of workloads) {
            const harm = await harmOf(scenario, keepsBarrier, random);
            if (harm !== NOTHING) return harm;
          }
          return NOTHING;
        },
        leastSites: 6,
      }),
    ),
  );
});
