/**
 * The cache's promise, as the crash model has it: after a power cut every byte is what the last flush (or fua
 * write) left, or something written later; never anything older, and never anything else.
 */
import { expect, it } from 'vitest';
import { type CacheOptions, WriteBackCache } from '../../../src/device/cache/index.js';
import { readAt } from '../../conformance/block-device.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../../support/devices/volatile-device.js';

const KIB = 1024;
const LANES = 6;
const LANE_BYTES = 20_000;
const SIZE = 128 * KIB;
const ROUNDS = 60;
/** Values are bits of a mask: byte values 0 to 30. */
const VALUES = 31;

interface Done {
  readonly offset: number;
  readonly length: number;
  readonly value: number;
  /** Its place in the order of completions; infinite while it is under way. */
  completed: number;
  isDurable: boolean;
}

it.each<[string, CacheOptions]>([
  ['of 16 blocks', { capacityBytes: 64 * KIB, stripeBytes: 12 * KIB, batchBytes: 12 * KIB }],
  [
    'that long requests pass by',
    { capacityBytes: 64 * KIB, stripeBytes: 8 * KIB, alignOffset: 4 * KIB, besideBytes: 8 * KIB },
  ],
  ['in which everything has room', { capacityBytes: 1024 * KIB, stripeBytes: 24 * KIB }],
])('holds over a cache %s', (_name, options) =>
  withSeed(async (random) => {
    for (let round = 0; round < ROUNDS; round++) await cutOnce(random, options);
  }),
);

async function cutOnce(random: SeededRandom, options: CacheOptions): Promise<void> {
  const power = new PowerSupply();
  power.cutAtEvent(random.between(1, 400));
  const lower = new VolatileDevice(SIZE, { seed: random.below(2 ** 32), maxDelayTurns: 4, power });
  const cache = new WriteBackCache(lower, options);
  const history: Done[][] = [];
  let clock = 0;
  const tick = () => {
    clock += 1;
    return clock;
  };
  const lanes = Array.from({ length: LANES }, (_, lane) => {
    const done: Done[] = [];
    history.push(done);
    return runLane(cache, random.fork(), lane, done, history, tick);
  });
  await Promise.all(lanes);
  const left = await readAt(lower.cutPower(random.below(2 ** 32)), 0, SIZE);
  await cache.close();
  check(left, history.flat());
}

/** Calls one after another within the lane's own bytes, until they fail or there were enough. */
async function runLane(
  cache: WriteBackCache,
  random: SeededRandom,
  lane: number,
  done: Done[],
  history: readonly Done[][],
  tick: () => number,
): Promise<void> {
  try {
    for (let n = 0; n < 40; n++) {
      if (random.chance(0.15)) {
        const submitted = tick();
        await cache.flush();
        for (const each of history.flat()) if (each.completed < submitted) each.isDurable = true;
        continue;
      }
      if (random.chance(0.15)) {
        await readAt(cache, lane * LANE_BYTES, random.below(LANE_BYTES));
        continue;
      }
      await change(cache, random, lane, done, tick);
    }
  } catch {
    // The power is off.
  }
}

async function change(
  cache: WriteBackCache,
  random: SeededRandom,
  lane: number,
  done: Done[],
  tick: () => number,
): Promise<void> {
  const start = random.below(LANE_BYTES);
  const length = random.below(LANE_BYTES - start) + 1;
  const isZero = random.chance(0.2);
  const fua = random.chance(0.2);
  const value = isZero ? 0 : random.between(1, VALUES - 1);
  const offset = lane * LANE_BYTES + start;
  const entry: Done = { offset, length, value, completed: Number.POSITIVE_INFINITY, isDurable: false };
  done.push(entry);
  if (isZero) await cache.writeZeroes(offset, length, { fua });
  else await cache.write(offset, new Uint8Array(length).fill(value), { fua });
  entry.completed = tick();
  entry.isDurable = fua;
}

function check(left: Uint8Array, changes: readonly Done[]): void {
  const allowed = new Uint32Array(SIZE).fill(1);
  // Within a lane they are in order, and lanes have no byte in common.
  for (const { offset, length, value, isDurable } of changes) {
    for (let at = offset; at < offset + length; at++)
      allowed[at] = (isDurable ? 0 : allowed[at]!) | (1 << value);
  }
  const wrong = left.findIndex((byte, at) => byte >= VALUES || (allowed[at]! & (1 << byte)) === 0);
  if (wrong >= 0) {
    expect.fail(
      `byte ${wrong} is ${left[wrong]}, which is older than what was flushed (mask ${allowed[wrong]})`,
    );
  }
}
