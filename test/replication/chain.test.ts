/**
 * A secondary of a secondary: whatever is written to second, held, lost, cut and resynced, third is a moment at which an epoch
 * of second ended, and never an older one than it had durably (crash model, invariant 8).
 */
import { describe, expect, it } from 'vitest';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { Chain } from './support/chain.js';
import { turns } from './support/parts.js';

const SECTOR_BYTES = 512;
const MOST_CALLS = 16;

/** Ends of the epochs of second, by content. */
class Moments {
  readonly #first = new Map<string, number>();
  readonly #last = new Map<string, number>();
  #count = 0;
  /** Third has it durably. */
  #durable = 0;
  /** How many third has had. */
  seen = 0;

  add(content: Uint8Array): void {
    const key = keyOf(content);
    if (!this.#first.has(key)) this.#first.set(key, this.#count);
    this.#last.set(key, this.#count);
    this.#count += 1;
  }

  noteDurable(content: Uint8Array): void {
    const first = this.#first.get(keyOf(content));
    expect(first, 'what third has made durable is no moment of second').toBeDefined();
    this.seen += 1;
    this.#durable = Math.max(this.#durable, first!);
  }

  check(content: Uint8Array): void {
    expect(this.#last.has(keyOf(content)), 'second is no moment of its primary').toBe(true);
  }

  checkCut(content: Uint8Array): void {
    const last = this.#last.get(keyOf(content));
    expect(last, 'what a power cut left of third is no moment of second').toBeDefined();
    expect(last, 'third had a newer moment durably').toBeGreaterThanOrEqual(this.#durable);
  }
}

const keyOf = (content: Uint8Array) => Buffer.from(content).toString('latin1');

class Use {
  readonly counts = { cuts: 0, holds: 0 };
  readonly #moments: Moments;
  readonly #content: Uint8Array;
  readonly #calls: Promise<void>[] = [];
  #callsInEpoch = 0;

  private constructor(
    private readonly random: SeededRandom,
    readonly chain: Chain,
    moments: Moments,
  ) {
    this.#moments = moments;
    this.#content = new Uint8Array(chain.sizeBytes);
    this.#moments.add(this.#content);
  }

  static async begin(random: SeededRandom): Promise<Use> {
    const moments = new Moments();
    const chain = await Chain.make({
      ...{ seed: random.below(1000), maxDelayTurns: random.below(5) },
      thirdLogBytes: random.pick([96, 160, 256]) * 1024,
      settings: { inFlight: random.between(1, 8), idleMs: random.pick([0, 1, 1e9]) },
      onMoment: (content) => moments.noteDurable(content),
    });
    const use = new Use(random, chain, moments);
    await chain.replication.start();
    return use;
  }

  get seen(): number {
    return this.#moments.seen;
  }

  async step(): Promise<void> {
    const { random, chain } = this;
    const kind = random.below(200);
    if (random.chance(0.5)) await turns(random.below(5));
    if (this.#callsInEpoch >= MOST_CALLS || kind < 30) this.#flush();
    else if (kind < 176) this.#change();
    else if (kind < 184) await turns(random.below(60));
    else if (kind < 190) await Promise.all(this.#calls.splice(0));
    else if (kind < 193) await this.#flushSecond();
    else if (kind < 195) chain.disconnect();
    else if (kind < 198) await this.#cut();
    else await this.#hold();
  }

  async end(): Promise<void> {
    this.#flush();
    await Promise.all(this.#calls);
    await this.chain.replication.release();
    await this.chain.inSync();
    expect(keyOf(await this.chain.thirdContent()) === keyOf(this.#content)).toBe(true);
    await this.chain.close();
  }

  #change(): void {
    const { random, chain } = this;
    const { device } = chain;
    const sectors = chain.sizeBytes / SECTOR_BYTES;
    const from = random.below(sectors);
    const count = random.between(1, Math.min(sectors - from, random.chance(0.1) ? 24 : 6));
    const [offset, length] = [from * SECTOR_BYTES, count * SECTOR_BYTES];
    const fua = random.chance(0.05);
    const bytes = random.chance(0.7) ? random.bytes(length) : null;
    this.#content.set(bytes ?? new Uint8Array(length), offset);
    this.#callsInEpoch += 1;
    if (bytes !== null) this.#calls.push(device.write(offset, bytes, { fua }));
    else if (fua || random.chance(0.5)) this.#calls.push(device.writeZeroes(offset, length, { fua }));
    else this.#calls.push(device.trim(offset, length));
    if (fua) this.#ended();
  }

  #flush(): void {
    this.#calls.push(this.chain.device.flush());
    this.#ended();
  }

  /** As a resync does, or whoever else wants it durable. */
  async #flushSecond(): Promise<void> {
    const { chain, random } = this;
    for (let flushes = random.between(1, 10); flushes > 0; flushes--) {
      if (random.chance(0.5)) await chain.replication.device.flush();
      else await chain.second.flush();
      this.#moments.check(await chain.secondContent());
      await turns(random.below(3));
    }
  }

  #ended(): void {
    this.#callsInEpoch = 0;
    this.#moments.add(this.#content);
  }

  async #cut(): Promise<void> {
    this.counts.cuts += 1;
    this.#moments.checkCut(await this.chain.cutThird(this.random.below(1000)));
  }

  async #hold(): Promise<void> {
    const { replication } = this.chain;
    this.counts.holds += 1;
    await replication.hold('second is resynced itself');
    for (let changes = this.random.below(6); changes > 0; changes--) this.#change();
    await turns(this.random.below(8));
    await replication.release();
  }
}

describe('a secondary of a secondary', () => {
  it('is a moment of it, whatever comes between', () =>
    withSeed(async (random) => {
      const totals = { seen: 0, cuts: 0, holds: 0, resyncs: 0 };
      for (let round = 0; round < 4; round++) {
        const use = await Use.begin(random);
        for (let step = 0; step < 250; step++) await use.step();
        await use.end();
        totals.seen += use.seen;
        totals.cuts += use.counts.cuts;
        totals.holds += use.counts.holds;
        totals.resyncs += use.chain.replica.totals.resyncs;
      }
      expect(Math.min(totals.cuts, totals.resyncs, totals.seen - 20)).toBeGreaterThan(0);
    }));
});
