/**
 * Power cuts of a map file: after any of them, what an opening finds covers every block that was persisted and that the
 * map had not given up. Cuts at every event; random runs with several lives; and with the flush taken out.
 */
import { describe, expect, it } from 'vitest';
import type { BlockRange } from '../../../src/replication/blocks.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { mapFileBytes } from '../../../src/replication/map/page.js';
import { chosenSeed, SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import type { CutMode, VolatileDeviceOptions } from '../../support/devices/volatile-device.js';
import { endedOrOff, losses, NoisyDevice, poweredAgain } from '../noisy-device.js';
import { BLOCKS, ownerOf } from './map-stage.js';

const OWNER = ownerOf();

/**
 * Blocks of which `persist` has returned and that were not cleared since. One that somebody cleared while it was asked for was
 * given up, also where it was set again meanwhile: that is for who set it to wait for.
 */
class Promised {
  readonly blocks = new Set<number>();
  readonly #asked = new Set<Set<number>>();

  async persisted({ from, count }: BlockRange, persist: () => Promise<void>): Promise<void> {
    const asked = new Set(Array.from({ length: count }, (_, at) => from + at));
    this.#asked.add(asked);
    try {
      await persist();
      for (const block of asked) this.blocks.add(block);
    } finally {
      this.#asked.delete(asked);
    }
  }

  givenUp({ from, count }: BlockRange): void {
    for (let block = from; block < from + count; block++)
      for (const blocks of [this.blocks, ...this.#asked]) blocks.delete(block);
  }
}

function rangeBy(random: SeededRandom) {
  const from = random.chance(0.7) ? random.below(8) * 3840 + random.below(40) : random.below(BLOCKS - 5000);
  return { from, count: random.chance(0.1) ? random.between(3000, 5000) : random.between(1, 20) };
}

async function writer(file: MapFile, promised: Promised, random: SeededRandom, steps: number): Promise<void> {
  for (let step = 0; step < steps; step++) {
    const range = rangeBy(random);
    const chosen = random.next();
    if (chosen < 0.55) {
      file.map.set(range);
      await promised.persisted(range, () => file.persist([range]));
    } else if (chosen < 0.85) {
      promised.givenUp(range);
      file.map.clear(range);
    } else await file.release();
  }
}

async function run(file: MapFile, promised: Promised, random: SeededRandom, steps: number): Promise<void> {
  const writers = Array.from({ length: 3 }, () => writer(file, promised, random.fork(), steps));
  await endedOrOff(writers);
}

async function fresh(options: VolatileDeviceOptions) {
  const device = new NoisyDevice(mapFileBytes(BLOCKS), options);
  return { device, file: await MapFile.format(device, OWNER) };
}

function missingIn(file: MapFile, promised: Promised): number[] {
  return [...promised.blocks].filter((each) => !file.map.has(each));
}

async function cutAt(event: number, seed: number, mode: CutMode, hasNoise: boolean) {
  const random = new SeededRandom(seed);
  const { device, file } = await fresh({ maxDelayTurns: 2, seed });
  const promised = new Promised();
  const formatted = device.power.events;
  device.power.cutAtEvent(formatted + event);
  await run(file, promised, random, 8);
  const events = device.power.events - formatted;
  const left = await device.cut(random, mode, hasNoise);
  return { events, missing: missingIn((await MapFile.open(left, OWNER)).file, promised) };
}

describe('a cut', () => {
  it('at every event leaves all that was persisted (paragraph 98)', async () => {
    const seed = chosenSeed();
    const { events } = await cutAt(Number.POSITIVE_INFINITY, seed, 'none', false);
    expect(events).toBeGreaterThan(20);
    for (let event = 1; event <= events; event++) {
      for (const mode of ['none', 'all', 'writes', 'sectors'] as const) {
        const hasNoise = event % 2 === 0;
        const { missing } = await cutAt(event, seed, mode, hasNoise);
        expect(missing, `HOLDFAST_SEED=${seed}, event ${event}, ${mode}, noise ${hasNoise}`).toEqual([]);
      }
    }
  });

  async function lives(random: SeededRandom, options: VolatileDeviceOptions): Promise<void> {
    const promised = new Promised();
    let { device, file } = await fresh({ maxDelayTurns: 3, seed: random.below(2 ** 32), ...options });
    for (let life = 0; life < 4; life++) {
      device.power.cutAtEvent(device.power.events + random.between(1, 40));
      await run(file, promised, random, 10);
      device = await poweredAgain(await device.cut(random), {
        maxDelayTurns: 3,
        seed: random.below(2 ** 32),
        ...options,
      });
      file = (await MapFile.open(device, OWNER)).file;
      const missing = missingIn(file, promised);
      if (missing.length > 0) throw new Error(`life ${life}: missing ${missing.length}, ${missing[0]} first`);
      for (const { from, count } of file.map.runs())
        for (let at = from; at < from + count; at++) promised.blocks.add(at);
    }
  }

  it('after a cut after a cut leaves it too: pages that tore are only more work', async () => {
    await withSeed(async (random) => {
      for (let round = 0; round < 60; round++) await lives(random.fork(), {});
    });
  });

  it('loses some where the flush is taken out, and none where it is not', async () => {
    const lost = (options: VolatileDeviceOptions) =>
      losses(25, /missing/, (random) => lives(random, options));
    expect(await lost({ keepsBarrier: () => false })).toBeGreaterThan(5);
    expect(await lost({})).toBe(0);
  });
});
