/**
 * Random use of a primary with a secondary: writes of all kinds while connections are lost and either side, or both, lose
 * power. What differs after a crash is dirty (crash model, invariant 7), and resync makes both alike.
 */
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { contentOf, ReplicationStage, type StageOptions } from './support/stage.js';

const SECTOR_BYTES = 512;

class Use {
  private constructor(
    readonly stage: ReplicationStage,
    readonly random: SeededRandom,
  ) {}

  static async begin(random: SeededRandom, options: StageOptions): Promise<Use> {
    const use = new Use(await ReplicationStage.make({ seed: random.below(1000), ...options }), random);
    await use.stage.open();
    return use;
  }

  async step(): Promise<void> {
    const { random, stage } = this;
    const kind = random.below(30);
    stage.replica.copiesOnRead = random.chance(0.5);
    if (random.chance(0.3)) this.#tell();
    if (kind < 12) await this.#change();
    else if (kind < 18) await this.#changes();
    else if (kind < 21) await stage.device.flush();
    else if (kind < 23) stage.disconnect();
    else if (kind < 26) stage.isReachable = true;
    else if (kind < 27) await this.#crash('primary');
    else if (kind < 28) await this.#crash('secondary');
    else if (kind < 29) await this.#crash('both');
    else await this.#alike();
  }

  async end(): Promise<void> {
    await this.#alike();
    await this.stage.device.flush();
    await this.stage.replication.close();
    await this.#covers('closed');
  }

  /** Blocks that are written soon, or not. */
  #tell(): void {
    const { random, stage } = this;
    const blocks = Math.floor(stage.sizeBytes / BLOCK_BYTES);
    const from = random.below(blocks);
    const count = random.between(1, Math.min(blocks - from, 10));
    stage.replication.device.willWrite(from * BLOCK_BYTES, count * BLOCK_BYTES);
  }

  async #change(at = 0, of = 1): Promise<void> {
    const { random, stage } = this;
    const sectors = stage.sizeBytes / SECTOR_BYTES / of;
    const from = random.below(sectors);
    const count = random.between(1, Math.min(sectors - from, random.chance(0.1) ? 200 : 12));
    const offset = (Math.floor(at * sectors) + from) * SECTOR_BYTES;
    const length = count * SECTOR_BYTES;
    const fua = random.chance(0.1);
    if (random.chance(0.2)) await stage.device.read(offset, new Uint8Array(length));
    else if (random.chance(0.8)) await stage.device.write(offset, random.bytes(length), { fua });
    else if (random.chance(0.5)) await stage.device.writeZeroes(offset, length, { fua });
    else await stage.device.trim(offset, length);
  }

  /** Side by side: in parts of the device of their own, which may share blocks. */
  async #changes(): Promise<void> {
    const lanes = this.random.between(2, 8);
    await Promise.all(Array.from({ length: lanes }, (_, lane) => this.#change(lane, lanes)));
  }

  async #crash(which: 'primary' | 'secondary' | 'both'): Promise<void> {
    const { random, stage } = this;
    const under = random.chance(0.7) ? this.#changes().catch(() => {}) : Promise.resolve();
    for (let turns = random.below(15); turns > 0; turns--)
      await new Promise((resolve) => setImmediate(resolve));
    const seed = random.below(1000);
    if (which !== 'primary') await stage.crashSecondary(seed);
    if (which === 'secondary') return under;
    await stage.crashPrimary(seed);
    await under;
    await this.#covers(which);
    await stage.open();
  }

  /** A look at what an opening finds dirty. */
  async #covers(what: string): Promise<void> {
    const { stage } = this;
    await stage.open({ starts: false });
    const { map } = [...stage.replication.tracker.secondaries][0]!;
    const missed = (await stage.differing()).filter((block) => !map.has(block));
    expect(missed, `${what}: blocks that differ and are not dirty`).toEqual([]);
    await stage.replication.close();
  }

  async #alike(): Promise<void> {
    const { stage } = this;
    await stage.inSync();
    expect(stage.replica.state).toBe('in-sync');
    expect(await stage.differing()).toEqual([]);
    expect(stage.replica.dirtyBlocks).toBe(0);
  }
}

const SETTINGS: readonly (readonly [string, StageOptions])[] = [
  ['a short log', { logSectors: 4 }],
  ['a long log', { logSectors: 64 }],
  ['late answers', { maxDelayTurns: 4 }],
  ['late answers, one request in flight', { maxDelayTurns: 3, settings: { inFlight: 1 } }],
  ['a short queue', { settings: { queue: { bytes: 8 * BLOCK_BYTES, entries: 4 } } }],
  ['writes are slowed down', { maxDelayTurns: 2 }],
];

describe('a primary and its secondary', () => {
  it.each(SETTINGS)('%s', (_, options) =>
    withSeed(async (random) => {
      for (let round = 0; round < 4; round++) {
        const use = await Use.begin(random, options);
        for (let step = 0; step < 60; step++) await use.step();
        await use.end();
        expect(await contentOf(use.stage.primary)).toEqual(await contentOf(use.stage.secondary));
      }
    }),
  );
});
