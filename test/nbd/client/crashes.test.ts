/** Random work over a server that dies at random requests and loses, each time, some of what was not flushed. */
import { expect, it } from 'vitest';
import type { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { TRANSMISSION_FLAGS } from '../../../src/nbd/protocol/constants.js';
import { expectSame, readAt } from '../../conformance/block-device.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { TOY_SIZE, ToyPlace } from './toy-place.js';
import { ALL_FLAGS, type Fate, type ToyOptions } from './toy-server.js';

const ROUNDS = 60;
const BLOCK = 512;
const USED = 256 * 1024;
const FATAL = 0.02;

/** A place whose server comes back by itself. Requests die of chance, those that are sent again too. */
class Crashing {
  crashes = 0;
  /** The server that comes next. */
  coming: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly place: ToyPlace,
    private readonly random: SeededRandom,
    private readonly options: ToyOptions,
  ) {}

  static async make(random: SeededRandom, flags: number): Promise<Crashing> {
    const crashing = new Crashing(await ToyPlace.make(4), random, {
      flags,
      delay: { random, maxTurns: 4 },
    });
    await crashing.serve();
    return crashing;
  }

  async serve(): Promise<void> {
    await this.place.serve({ ...this.options, fateOf: (_request, server) => this.#fate(server) });
  }

  /** From here on nothing dies any more. */
  async calm(): Promise<void> {
    this.#isCalm = true;
    await this.coming;
  }

  #isCalm = false;

  #fate(server: unknown): Fate {
    if (this.#isCalm || server !== this.place.server || !this.random.chance(FATAL)) return 'answer';
    const fate = this.random.pick(['die before', 'die after'] as const);
    this.coming = this.coming.then(() => this.#next());
    return fate;
  }

  async #next(): Promise<void> {
    this.crashes += 1;
    await this.place.crash('random', this.random.below(2 ** 31));
    await this.serve();
  }
}

/** Calls over ranges that do not overlap, all at once; the model is what they leave. */
async function round(device: NbdDevice, model: Uint8Array, random: SeededRandom): Promise<void> {
  const calls: Promise<unknown>[] = [];
  for (let at = 0; at < USED; ) {
    const end = Math.min(USED, at + BLOCK * random.between(1, 64));
    const blocks = (end - at) / BLOCK;
    const first = random.below(blocks);
    const offset = at + first * BLOCK;
    calls.push(oneCall(device, model, random, offset, BLOCK * random.between(1, blocks - first)));
    at = end;
  }
  if (random.chance(0.3)) calls.push(device.flush());
  await Promise.all(calls);
}

async function oneCall(
  device: NbdDevice,
  model: Uint8Array,
  random: SeededRandom,
  offset: number,
  length: number,
): Promise<void> {
  const kind = random.below(10);
  const fua = random.chance(0.2);
  if (kind < 5) {
    const bytes = random.bytes(length);
    model.set(bytes, offset);
    return device.write(offset, bytes, { fua });
  }
  if (kind < 6) {
    model.fill(0, offset, offset + length);
    return device.writeZeroes(offset, length, { fua });
  }
  if (kind < 7) {
    // The server's device makes zeroes of it, each time.
    model.fill(0, offset, offset + length);
    return device.trim(offset, length);
  }
  const wanted = model.slice(offset, offset + length);
  expectSame(await readAt(device, offset, length), wanted, `read of ${length} at ${offset}`);
}

it.each([
  ['flush and fua', ALL_FLAGS],
  ['flush and no fua', ALL_FLAGS & ~TRANSMISSION_FLAGS.NBD_FLAG_SEND_FUA],
  ['fua and no flush', ALL_FLAGS & ~TRANSMISSION_FLAGS.NBD_FLAG_SEND_FLUSH],
])('a client of a server with %s sees its own writes, and finds them on disk after a flush', (_what, flags) =>
  withSeed(async (random) => {
    const crashing = await Crashing.make(random, flags);
    // Little room, so that the device flushes by itself now and then.
    const device = await crashing.place.open({ unflushedLimitBytes: 512 * 1024 });
    const model = new Uint8Array(TOY_SIZE);
    for (let i = 0; i < ROUNDS; i++) await round(device, model, random);
    await crashing.calm();
    expectSame(await readAt(device, 0, TOY_SIZE), model);
    await device.flush();
    expect(device.unflushedRanges()).toEqual([]);
    expectSame(await crashing.place.durable(), model, 'what is durable');
    expect(crashing.crashes).toBeGreaterThan(0);
  }),
);
