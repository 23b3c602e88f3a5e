/** What the metadata engine is cut amid. */

import type { SeededRandom } from '../../../crash/seeded-random.js';
import { type Change, MAX_VALUE_BYTES } from '../../../metadata/engine/contract.js';
import { put, randomChanges, take } from './model.js';
import type { EngineBench, EngineWorkload } from './recording.js';

const KIB = 1024;
/** The least that an engine takes is 72 pages, a log and a page more in each half. */
const SMALL = 2 * (16 * KIB * 68 + 64 * KIB);

function small(random: SeededRandom): Change[] {
  return Array.from({ length: random.between(1, 3) }, () => {
    const key = `k${random.below(12)}`;
    return random.chance(0.3) ? take(key) : put(key, `v${random.below(1000)}`);
  });
}

function large(random: SeededRandom): Change[] {
  const key = () => ({ key: new Uint8Array(Buffer.from(`${random.below(24)}`.padStart(40, 'x'))) });
  return Array.from({ length: 2 }, () => ({
    ...key(),
    value: random.chance(0.4) ? null : random.bytes(MAX_VALUE_BYTES - random.below(200)),
  }));
}

/** Some at once, several times over. */
async function rounds(
  { random, commit, open }: EngineBench,
  make: (random: SeededRandom) => Change[],
  { count, atOnce, checkpoint }: { count: number; atOnce: number; checkpoint: number },
): Promise<void> {
  const engine = await open();
  for (let round = 0; round < count; round++) {
    const done = Array.from({ length: random.between(1, atOnce) }, () => commit(engine, make(random)));
    if (random.chance(checkpoint)) done.push(engine.checkpoint());
    await Promise.all(done);
  }
  await engine.close();
}

export const ENGINE_WORKLOADS: readonly EngineWorkload[] = [
  {
    name: 'one commit after another, and checkpoints between them',
    rangeBytes: SMALL,
    run: (bench) => rounds(bench, small, { count: 8, atOnce: 1, checkpoint: 0.35 }),
  },
  {
    name: 'commits that share records while checkpoints run',
    rangeBytes: SMALL,
    run: (bench) => rounds(bench, small, { count: 6, atOnce: 5, checkpoint: 0.6 }),
  },
  {
    name: 'long values: pages are cut and joined, the log goes round',
    rangeBytes: SMALL,
    run: (bench) => rounds(bench, large, { count: 12, atOnce: 3, checkpoint: 0.2 }),
  },
  {
    name: 'many commits at once: the log is full, and they wait for checkpoints',
    rangeBytes: SMALL,
    run: (bench) => rounds(bench, large, { count: 2, atOnce: 18, checkpoint: 1 }),
  },
  {
    name: 'two write on and on while checkpoints begin by themselves',
    rangeBytes: SMALL,
    async run({ random, commit, open }) {
      const engine = await open();
      const writer = async () => {
        for (let count = 0; count < 10; count++) await commit(engine, large(random));
      };
      await Promise.all([writer(), writer()]);
      await engine.close();
    },
  },
  {
    name: 'keys of all kinds',
    rangeBytes: SMALL,
    run: (bench) =>
      rounds(bench, (random) => randomChanges(random, 3), { count: 8, atOnce: 3, checkpoint: 0.3 }),
  },
  {
    name: 'the engine is left and opened anew, again and again',
    rangeBytes: SMALL,
    async run({ random, commit, open }) {
      for (let opening = 0; opening < 4; opening++) {
        const engine = await open();
        for (let count = 0; count < 3; count++) await commit(engine, small(random));
        if (random.chance(0.5)) await engine.checkpoint();
      }
    },
  },
  {
    name: 'a write to half B fails, and the engine is opened anew',
    rangeBytes: SMALL,
    async run({ random, commit, open, slow, secondHalf }) {
      const engine = await open();
      await commit(engine, small(random));
      slow.failWrites(secondHalf);
      const outcome = await Promise.allSettled([commit(engine, small(random))]);
      if (outcome[0].status === 'fulfilled') throw new Error('a commit did not fail');
      slow.failWrites(Number.POSITIVE_INFINITY);
      await engine.close();
      const next = await open();
      await commit(next, small(random));
      await commit(next, small(random));
      await next.close();
    },
  },
  {
    name: 'an engine is made over another',
    rangeBytes: SMALL,
    async run({ random, commit, open, remake }) {
      const engine = await open();
      await commit(engine, small(random));
      await engine.checkpoint();
      await commit(engine, small(random));
      await engine.close();
      await remake();
      const next = await open();
      await commit(next, large(random));
      await next.close();
    },
  },
  {
    name: 'few pages are free: a checkpoint takes several roots',
    isLong: true,
    rangeBytes: SMALL,
    async run({ random, commit, open }) {
      const engine = await open();
      // As many as fit; what is left free is too little for the next checkpoint in one.
      const keys = Array.from({ length: 17 }, (_, at) => [0, 1, 2].map((each) => `${at}-${each}`));
      for (const each of keys)
        await commit(
          engine,
          each.map((key) => long(random, key)),
        );
      for (let at = 0; engine.usage.pagesUsed < 19; at++) {
        await commit(engine, [long(random, `9-${at}`)]);
        await engine.checkpoint();
      }
      const before = engine.generation;
      const gone = keys.map(([first]) => take(first!));
      await commit(engine, gone);
      await engine.checkpoint();
      if (engine.generation < before + 2) throw new Error('one root was enough');
      await engine.close();
    },
  },
];

function long(random: SeededRandom, key: string): Change {
  return { ...put(key, ''), value: random.bytes(MAX_VALUE_BYTES) };
}
