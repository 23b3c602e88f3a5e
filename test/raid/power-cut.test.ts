/**
 * Power cuts at any event, by the crash model: whatever the cut leaves, what the superblocks say is true, a
 * resync makes parity right, and every sector is a version between the last flushed and the last written.
 */
import { expect, it } from 'vitest';
import { withSeed } from '../support/devices/seeded-random.js';
import {
  complete,
  failing,
  memberAway,
  rebuilding,
  replacing,
  type Scenario,
  withBitmap,
  withPpl,
} from '../support/power-cut.js';
import { healing, rebuildingBad } from '../support/power-cut-bad-blocks.js';
import type { Outcome } from '../support/power-cut-checks.js';

/** Each with the states that its cuts must have come upon, or it has not tested what it should. */
const SCENARIOS: [string, Scenario, readonly Outcome[]][] = [
  [
    'of a complete array leaves one that says the truth about itself, and is made right',
    complete,
    ['dirty', 'clean'],
  ],
  ['of an array with a bitmap leaves bits for all that has to be made right', withBitmap, ['dirty', 'clean']],
  ['of an array with partial parity logs leaves none that would be trusted', withPpl, ['dirty', 'clean']],
  [
    'after a member has failed loses nothing that was flushed',
    failing,
    ['dirty', 'dirty-degraded', 'degraded'],
  ],
  [
    'of a degraded array never makes the member that was away current again',
    memberAway,
    ['degraded', 'dirty-degraded'],
  ],
  [
    'of a rebuild leaves what was rebuilt where the superblock says',
    rebuilding,
    ['degraded', 'rebuilding', 'clean'],
  ],
  ['amid a replacement loses nothing', replacing, ['dirty', 'clean']],
  ['while bad blocks are written anew lets none be read that is bad still', healing, ['dirty', 'clean']],
  [
    'of a rebuild beside bad blocks leaves what it could not make as bad',
    rebuildingBad,
    ['degraded', 'rebuilding', 'clean'],
  ],
];

const ROUNDS = 40;
/** Some outcomes are rare: it goes on until its cuts have come upon all of them. */
const MAX_ROUNDS = 1000;

it.each(SCENARIOS)('a power cut %s', { timeout: 300_000 }, async (_, scenario, outcomes) => {
  await withSeed(async (random) => {
    const seen = new Set<Outcome>();
    const isDone = (round: number) => round >= ROUNDS && outcomes.every((outcome) => seen.has(outcome));
    for (let round = 0; !isDone(round) && round < MAX_ROUNDS; round++) seen.add(await scenario({ random }));
    expect([...seen]).toEqual(expect.arrayContaining([...outcomes]));
  });
});
