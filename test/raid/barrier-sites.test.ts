/**
 * Flush mutation without a list (docs/crash-model.md): every place in the product that asks a member for a barrier is
 * found by the call itself, and taken out in turn. A cut must then break what holds with it; a place whose loss no
 * scenario shows is named, and fails this test.
 */
import { describe, expect, it } from 'vitest';
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

/** Frames that only hand a call on. */
const HANDED_ON = /\/src\/(device\/|raid\/transfers\.ts)|ArrayMember\.(read|write|writeZeroes) /;
/** Making a new array: nothing was promised of it before its maker has ended. */
const NO_PROMISE = /\/src\/raid\/create\.ts/;

/** `metadata.ts writeOne fua`: who asks for the barrier that is being called; null: a test does. */
function siteOf(kind: 'flush' | 'fua'): string | null {
  const frames = (new Error().stack ?? '').split('\n').slice(1);
  const frame = frames.find((line) => line.includes('/src/') && !HANDED_ON.test(line));
  if (frame === undefined || NO_PROMISE.test(frame)) return null;
  const name = /at (?:async )?(?:new )?([\w.<>]+) \(/.exec(frame)?.[1]?.split('.').at(-1) ?? 'a callback';
  const file = /\/src\/([\w/-]+\.ts)/.exec(frame)?.[1] ?? '';
  return `${file} ${name} ${kind}`;
}

async function look(scenario: Scenario, random: SeededRandom): Promise<Set<string>> {
  const sites = new Set<string>();
  const keepsBarrier = (kind: 'flush' | 'fua') => {
    const site = siteOf(kind);
    if (site !== null) sites.add(site);
    return true;
  };
  for (let round = 0; round < LOOKING_ROUNDS; round++) await scenario({ random, keepsBarrier });
  return sites;
}

/** True as soon as a cut does harm. */
async function doesHarm(scenario: Scenario, without: string, random: SeededRandom): Promise<boolean> {
  const keepsBarrier = (kind: 'flush' | 'fua') => siteOf(kind) !== without;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const options = { random: new SeededRandom(random.below(2 ** 32)), keepsBarrier };
    const harm = await scenario(options).then(
      () => false,
      () => true,
    );
    if (harm) return true;
  }
  return false;
}

describe('every place that asks for a barrier', () => {
  it('is missed when it does not', { timeout: 600_000 }, async () => {
    await withSeed(async (random) => {
      const places = new Map<string, string[]>();
      for (const [name, scenario] of Object.entries(SCENARIOS)) {
        for (const site of await look(scenario, random))
          places.set(site, [...(places.get(site) ?? []), name]);
      }
      const missed: string[] = [];
      for (const [site, names] of places) {
        let isMissed = false;
        for (const name of names) {
          isMissed = await doesHarm(SCENARIOS[name]!, site, random);
          if (isMissed) break;
        }
        if (!isMissed) missed.push(`${site} (in ${names.join(', ')})`);
      }
      process.stderr.write(
        `barriers: ${places.size - missed.length} of ${places.size} places are missed when they are taken out: ${[...places.keys()].join(', ')}\n`,
      );
      expect([...places.keys()].length).toBeGreaterThanOrEqual(6);
      expect(missed).toEqual([]);
    });
  });
});
