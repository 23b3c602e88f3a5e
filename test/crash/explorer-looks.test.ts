/** States that are looked at at once, by checks that take their time: what is found and counted is the same as one by one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { explore } from '../../src/crash/explorer.js';
import type { ExploreOptions, Subject } from '../../src/crash/explorer-subject.js';
import { SeededRandom } from '../../src/crash/seeded-random.js';
import { get, put, type Toy, toySubject } from '../support/crash/toys.js';
import { seeded } from '../support/seed.js';

const VALUES = [1, 2, 3, 4];

/** Which of the three sectors: what is counted of their order is taken back with the states. */
const roleOf = ({ offset }: { offset: number }): string => `${offset}`;

/** Writes to three sectors at once; `flushes` tells whether they are durable when that is said. */
function three(flushes: (value: number) => boolean): Toy {
  return {
    devices: 1,
    async work([device], acknowledged) {
      for (const value of VALUES) {
        await Promise.all([0, 8, 16].map((sector) => put(device!, sector, value, 2)));
        if (flushes(value)) await device!.flush();
        acknowledged(value);
      }
    },
    async recover([device]) {
      const values = await Promise.all([0, 8, 16].map((sector) => get(device!, sector)));
      const least = Math.min(...values);
      for (const [at, value] of values.entries()) if (value !== least) await put(device!, at * 8, least, 2);
      await device!.flush();
    },
    read: ([device]) => get(device!, 16),
  };
}

interface Slow {
  readonly mostAtOnce: number;
  readonly checked: readonly string[];
}

/** A subject whose check takes as long as a seed says, and is told of the state itself. */
async function slowSubject(
  toy: Toy,
  random: SeededRandom,
): Promise<Subject<{ value: number }, number> & Slow> {
  const subject = await toySubject(toy);
  const checked: string[] = [];
  let now = 0;
  let mostAtOnce = 0;
  return {
    ...subject,
    checked,
    get mostAtOnce() {
      return mostAtOnce;
    },
    checksDevices: true,
    async evaluate(state) {
      const { reading, recovery } = await subject.evaluate(state);
      await sleep(random.below(2));
      return { reading: { value: reading.value! }, recovery };
    },
    async check({ value }, owed, state) {
      const [device] = state!.devices();
      mostAtOnce = Math.max(mostAtOnce, ++now);
      await sleep(random.below(3));
      const sectors = await Promise.all([0, 8, 16].map((sector) => get(device!, sector)));
      checked.push(`${sectors.join()} ${owed}`);
      now -= 1;
      if (value < owed)
        return { invariant: 'acknowledged', message: `${owed} is owed, and ${value} is there` };
      return sectors[0]! > owed + 1
        ? { invariant: 'ahead', message: `${sectors[0]} is ahead of ${owed}` }
        : null;
    },
  };
}

describe.each([
  ['a store that is good', three(() => true), {}],
  ['a store that is not', three((value) => value !== 3), {}],
  [
    'a store that is not, of which all is to be found',
    three(() => false),
    { maxFailures: 9, maxStates: 300 },
  ],
  ['a run that is cut short', three(() => true), { maxImages: 40 }],
  ['a run of a few states a cut', three(() => true), { maxImagesPerCut: 7 }],
] as const)('%s', (_, toy, options: Partial<ExploreOptions>) => {
  it('is found the same, however many states are looked at at once', async () => {
    const { seed = 1 } = seeded();
    console.log(`seed ${seed}`);
    const run = async (atOnce: number) => {
      const subject = await slowSubject(toy, new SeededRandom(seed + atOnce));
      const { seconds, ...report } = await explore(subject, { seed, atOnce, roleOf, ...options });
      expect(subject.mostAtOnce).toBe(Math.min(atOnce, subject.mostAtOnce));
      if (atOnce > 1) expect(subject.mostAtOnce).toBeGreaterThan(1);
      return report;
    };
    const alone = await run(1);
    expect(alone.checks).toBeGreaterThan(5);
    expect(alone.coverage.length).toBeGreaterThan(2);
    expect(await run(3)).toEqual(alone);
    expect(await run(16)).toEqual(alone);
  });
});

it('a state that is found amid a cut ends the run with the same counts, however many are under way then', async () => {
  const run = async (atOnce: number) => {
    const subject = await slowSubject(
      three(() => true),
      new SeededRandom(atOnce),
    );
    const midst: typeof subject = {
      ...subject,
      async check(reading, owed, state) {
        const [device] = state!.devices();
        const sectors = await Promise.all([0, 8, 16].map((sector) => get(device!, sector)));
        await subject.check(reading, owed, state);
        return sectors.join() === '1,0,1' ? { invariant: 'midst', message: 'two of three' } : null;
      },
    };
    const { seconds, ...report } = await explore(midst, { seed: 1, atOnce, roleOf });
    return report;
  };
  const alone = await run(1);
  expect([alone.stoppedBy, alone.cuts]).toEqual(['failures', expect.any(Number)]);
  expect(alone.checks).toBeGreaterThan(5);
  expect(await run(3)).toEqual(alone);
  expect(await run(16)).toEqual(alone);
});

it('what a check throws ends the run with it, when its turn comes', async () => {
  const subject = await toySubject(three(() => true));
  let calls = 0;
  const failing: typeof subject = {
    ...subject,
    check: async () => {
      calls += 1;
      await sleep(calls % 3);
      if (calls >= 5) throw new Error(`call ${calls}`);
      return null;
    },
  };
  await expect(explore(failing, { seed: 1, atOnce: 4 })).rejects.toThrow('call');
});

it('when a check throws the others have ended before that is told', async () => {
  const subject = await toySubject(three(() => true));
  let [now, leftBehind] = [0, 0];
  const failing: typeof subject = {
    ...subject,
    async check() {
      now += 1;
      await sleep(10 + 10 * now);
      const isThrown = leftBehind === 0 && now >= 4;
      now -= 1;
      if (!isThrown) return null;
      leftBehind = now;
      throw new Error('thrown');
    },
  };
  await expect(explore(failing, { seed: 1, atOnce: 6 })).rejects.toThrow('thrown');
  expect(leftBehind).toBeGreaterThan(1);
  expect(now).toBe(0);
});

it('counts the states that break each invariant', async () => {
  const subject = await slowSubject(
    three(() => false),
    new SeededRandom(1),
  );
  const { breaches, failures } = await explore(subject, { seed: 1, atOnce: 4, maxFailures: 9 });
  expect(Object.keys(breaches).sort()).toEqual(failures.map(({ invariant }) => invariant).sort());
  expect(breaches.acknowledged).toBeGreaterThan(5);
});
