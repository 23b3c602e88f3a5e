/** A device that is written all the time, while something else is done to what lies below it. */
import { setImmediate } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { chosenSeed, SeededRandom } from './devices/seeded-random.js';

const LANES = 8;

/** In several lanes, to the byte, none over another; each reads what it has just written. */
export class Writing {
  count = 0;
  #isEnding = false;
  readonly #lanes: Promise<void>[];

  private constructor(
    private readonly device: BlockDevice,
    /** What is there, as far as was answered. */
    readonly content: Buffer,
    private readonly random: SeededRandom,
  ) {
    this.#lanes = Array.from({ length: LANES }, (_, lane) => this.#run(lane));
    for (const lane of this.#lanes) lane.catch(() => {});
    // Before what was opened earlier is closed; a test that has failed has said why.
    onTestFinished(() => this.end().catch(() => {}));
  }

  static async begin(device: BlockDevice, random?: SeededRandom): Promise<Writing> {
    const seed = chosenSeed();
    if (random === undefined) console.log(`HOLDFAST_SEED=${seed}`);
    return new Writing(device, await contentOf(device), random ?? new SeededRandom(seed));
  }

  /** So many more have been answered. Throws what one failed with. */
  async more(count: number): Promise<void> {
    const until = this.count + count;
    const enough = async () => {
      while (this.count < until && !this.#isEnding) await setImmediate();
    };
    await Promise.race([enough(), Promise.all(this.#lanes)]);
  }

  /** What comes of the work, where writes were answered before, amid and after it. */
  async during<T>(work: Promise<T>): Promise<T> {
    const before = this.count;
    const result = await work;
    expect(this.count).toBeGreaterThan(before);
    await this.more(LANES);
    return result;
  }

  /** Throws what one failed with. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#lanes);
  }

  async expectContent(device = this.device): Promise<void> {
    expect(Buffer.compare(await contentOf(device), this.content)).toBe(0);
  }

  async #run(lane: number): Promise<void> {
    const { device, random } = this;
    const half = device.size / 2;
    while (!this.#isEnding) {
      // Lanes meet in sectors and in blocks: each has its part of every kilobyte. Or it writes at length, in its own place.
      const isSmall = random.chance(0.9);
      const most = isSmall ? 1024 / LANES : half / LANES;
      const piece = isSmall ? random.below(half / 1024) * 1024 : half;
      const length = random.between(1, Math.min(most, 200_000));
      const offset = piece + lane * most + random.below(most - length + 1);
      await this.#change(offset, length);
      if (random.chance(0.05)) await device.flush();
      // What goes to the page cache at once would leave nobody else a turn.
      await setImmediate();
    }
  }

  async #change(offset: number, length: number): Promise<void> {
    const { device, random } = this;
    const isZero = random.chance(0.1);
    const bytes = isZero ? new Uint8Array(length) : random.bytes(length);
    const fua = random.chance(0.05);
    if (isZero) await device.writeZeroes(offset, length, { fua });
    else await device.write(offset, bytes, { fua });
    this.content.set(bytes, offset);
    this.count += 1;
    const back = new Uint8Array(length);
    await device.read(offset, back);
    expect(Buffer.compare(back, bytes)).toBe(0);
  }
}

export async function contentOf(device: BlockDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}
