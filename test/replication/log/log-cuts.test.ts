/**
 * Power cuts of the log: after any of them, what an opening finds covers every block that was begun and not done, and
 * it finds no damage. Cuts at every event of a run; random runs with several lives; and with the barrier taken out.
 */
import { describe, expect, it } from 'vitest';
import type { MemoryDevice } from '../../../src/device/memory.js';
import { logFileBytes, TransactionLog } from '../../../src/replication/log/transaction-log.js';
import { chosenSeed, SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import type { CutMode, VolatileDeviceOptions } from '../../support/devices/volatile-device.js';
import { endedOrOff, losses, NoisyDevice, poweredAgain } from '../noisy-device.js';
import { activeBlocks, VOLUME, whole } from './log-stage.js';

const SECTORS = 9;
const BLOCKS = 400;

/** What must be found: the blocks of each transaction that somebody has not done, once for each who has them. */
class Promises {
  readonly #held: { readonly numbers: readonly number[]; readonly blocks: readonly number[] }[] = [];

  add(numbers: readonly number[], blocks: readonly number[]): void {
    this.#held.push({ numbers, blocks });
  }

  /** Before it is done. */
  take(random: SeededRandom): readonly number[] {
    if (this.#held.length === 0) return [];
    const oldest = random.chance(0.6) ? 0 : random.below(this.#held.length);
    return this.#held.splice(oldest, 1)[0]!.numbers;
  }

  get count(): number {
    return this.#held.length;
  }

  get blocks(): Set<number> {
    return new Set(this.#held.flatMap(({ blocks }) => blocks));
  }
}

function rangesBy(random: SeededRandom) {
  const count = random.chance(0.1) ? random.between(60, 130) : random.between(1, 3);
  return Array.from({ length: count }, () => ({ from: random.below(BLOCKS), count: random.between(1, 3) }));
}

/** One of several who write at once, until the power goes or it has written enough. */
async function writer(
  log: TransactionLog,
  promises: Promises,
  random: SeededRandom,
  steps: number,
): Promise<void> {
  for (let step = 0; step < steps; step++) {
    const ranges = rangesBy(random);
    const numbers = await log.begin(ranges);
    if (numbers !== null) {
      const blocks = ranges.flatMap(({ from, count }) => Array.from({ length: count }, (_, at) => from + at));
      promises.add(numbers, blocks);
    }
    const limit = numbers === null ? 0 : random.between(2, 6);
    while (promises.count > limit) for (const number of promises.take(random)) log.done(number);
  }
}

async function run(
  log: TransactionLog,
  promises: Promises,
  random: SeededRandom,
  steps: number,
): Promise<void> {
  const writers = Array.from({ length: 3 }, () => writer(log, promises, random.fork(), steps));
  await endedOrOff(writers);
}

async function fresh(
  options: VolatileDeviceOptions = {},
): Promise<{ device: NoisyDevice; log: TransactionLog }> {
  const device = new NoisyDevice(logFileBytes(SECTORS), options);
  const log = await TransactionLog.format(device, VOLUME);
  return { device, log };
}

/** What is wrong with what the cut left; null: nothing. */
async function faultOf(left: MemoryDevice, promises: Promises): Promise<string | null> {
  const opened = await TransactionLog.open(left, VOLUME);
  if (opened.damage !== null) return `damage: ${opened.damage}`;
  const found = activeBlocks(opened);
  const missing = [...promises.blocks].filter((each) => !found.has(each));
  return missing.length === 0 ? null : `missing: ${missing.join(', ')}`;
}

async function cutAt(event: number, seed: number, mode: CutMode, hasNoise: boolean) {
  const random = new SeededRandom(seed);
  const { device, log } = await fresh({ maxDelayTurns: 2, seed });
  const promises = new Promises();
  const formatted = device.power.events;
  device.power.cutAtEvent(formatted + event);
  await run(log, promises, random, 20);
  const events = device.power.events - formatted;
  return { events, fault: await faultOf(await device.cut(random, mode, hasNoise), promises) };
}

describe('a cut', () => {
  it('at every event leaves all that was begun and not done (paragraphs 50 to 54)', async () => {
    const seed = chosenSeed();
    const { events } = await cutAt(Number.POSITIVE_INFINITY, seed, 'none', false);
    expect(events).toBeGreaterThan(20);
    for (let event = 1; event <= events; event++) {
      for (const mode of ['none', 'all', 'prefix', 'writes', 'sectors'] as const) {
        for (const hasNoise of [false, true]) {
          const { fault } = await cutAt(event, seed, mode, hasNoise);
          expect(fault, `HOLDFAST_SEED=${seed}, event ${event}, ${mode}, noise ${hasNoise}`).toBe(null);
        }
      }
    }
  });

  it('that leaves noise where a sector was overwritten takes no active one (paragraph 52)', async () => {
    for (let event = 1; event <= 5; event++) {
      for (let seed = 1; seed <= 10; seed++) {
        const { device, log } = await fresh();
        for (let from = 1; from < SECTORS; from++) await log.begin([{ from, count: 1 }]);
        for (const number of [1, 2, 3]) log.done(number);
        device.power.cutAtEvent(device.power.events + event);
        // Two sectors where one is free: they would lie over what is done, and no durable sector says so yet.
        const outcomes = await Promise.allSettled([log.begin([{ from: 1000, count: 16384 * 60 }])]);
        const left = await device.cut(new SeededRandom(seed), 'none', true);
        const opened = await TransactionLog.open(left, VOLUME);
        expect(opened.damage).toBe(null);
        expect([...activeBlocks(opened)]).toEqual(expect.arrayContaining([4, 5, 6, 7, 8]));
        expect(outcomes[0]!.status).toBe(event < 5 ? 'rejected' : 'fulfilled');
      }
    }
  });

  it('after a cut after a cut leaves it too: sectors that tore are only more work', async () => {
    await withSeed(async (random) => {
      for (let round = 0; round < 150; round++) await lives(random.fork(), {});
    });
  });

  async function lives(random: SeededRandom, options: VolatileDeviceOptions): Promise<void> {
    const promises = new Promises();
    let { device, log } = await fresh({ maxDelayTurns: 3, seed: random.below(2 ** 32), ...options });
    for (let life = 0; life < 5; life++) {
      device.power.cutAtEvent(device.power.events + random.between(1, 30));
      await run(log, promises, random, 15);
      const left = await device.cut(random);
      const fault = await faultOf(left, promises);
      if (fault !== null) throw new Error(`life ${life}: ${fault}`);
      device = await poweredAgain(left, { maxDelayTurns: 3, seed: random.below(2 ** 32), ...options });
      const opened = await TransactionLog.open(device, VOLUME);
      log = whole(opened);
      // What was found is done, or held on: by the opening, once.
      while (promises.take(random).length > 0);
      for (const { transaction, ranges } of opened.active) {
        const blocks = ranges.flatMap(({ from, count }) =>
          Array.from({ length: count }, (_, at) => from + at),
        );
        promises.add([transaction], blocks);
      }
    }
  }

  it('loses some where a log write is answered before it is durable, and none where it is not', async () => {
    const lost = (options: VolatileDeviceOptions) =>
      losses(60, /missing|damage/, (random) => lives(random, options));
    expect(await lost({ keepsBarrier: (kind) => kind !== 'fua' })).toBeGreaterThan(10);
    expect(await lost({})).toBe(0);
  });
});
