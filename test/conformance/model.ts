/** Conformance: random calls against a plain buffer that does the same. */
import { it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { type Bench, expectSame, readAt, SMALLEST_SIZE } from './block-device.js';
import { checkExtents } from './extents.js';

const STEPS = 400;
const LONGEST_BYTES = 64 * 1024;

export function describeModel(bench: Bench): void {
  it('does what a plain buffer does, for random calls one after another', () =>
    withSeed(async (random) => {
      const model = await Model.of(bench.device);
      for (let step = 0; step < STEPS; step++) await model.randomStep(random);
      await model.verify();
    }));

  it('does what a plain buffer does, for random rounds of calls at once', () =>
    withSeed(async (random) => {
      const model = await Model.of(bench.device);
      for (let round = 0; round < 40; round++) await model.randomRound(random);
      await model.verify();
    }));
}

class Model {
  private constructor(
    private readonly device: BlockDevice,
    /** What the start of the device holds; the rest is not touched. */
    private readonly content: Uint8Array,
  ) {}

  static async of(device: BlockDevice): Promise<Model> {
    return new Model(device, await readAt(device, 0, SMALLEST_SIZE - (SMALLEST_SIZE % device.blockSize)));
  }

  async randomStep(random: SeededRandom): Promise<void> {
    const [offset, length] = this.randomRange(random, 0, this.content.byteLength);
    await this.call(random, offset, length);
  }

  /** The range is cut into lanes, with a call in each, all at once; sometimes with a flush among them. */
  async randomRound(random: SeededRandom): Promise<void> {
    const calls: Promise<unknown>[] = [];
    const { blockSize } = this.device;
    for (let at = 0; at < this.content.byteLength; ) {
      const lane = blockSize * random.between(1, Math.ceil(LONGEST_BYTES / blockSize));
      const end = Math.min(at + lane, this.content.byteLength);
      const [offset, length] = this.randomRange(random, at, end);
      calls.push(this.call(random, offset, length));
      at = end;
    }
    if (random.chance(0.3)) calls.push(this.device.flush());
    await Promise.all(calls);
  }

  async verify(): Promise<void> {
    expectSame(await readAt(this.device, 0, this.content.byteLength), this.content);
  }

  private randomRange(random: SeededRandom, low: number, high: number): [number, number] {
    const { blockSize } = this.device;
    const blocks = (high - low) / blockSize;
    const first = random.below(blocks);
    const longest = Math.min(blocks - first, Math.ceil(LONGEST_BYTES / blockSize));
    return [low + first * blockSize, random.between(0, longest) * blockSize];
  }

  private async call(random: SeededRandom, offset: number, length: number): Promise<void> {
    const { device, content } = this;
    const end = offset + length;
    const kind = random.below(20);
    if (kind < 8) {
      const bytes = random.bytes(length);
      content.set(bytes, offset);
      const middle = random.between(0, length);
      const buffers = random.chance(0.5) ? bytes : [bytes.subarray(0, middle), bytes.subarray(middle)];
      return device.write(offset, buffers, { fua: random.chance(0.1) });
    }
    if (kind < 10) {
      content.fill(0, offset, end);
      return device.writeZeroes(offset, length, { fua: random.chance(0.1) });
    }
    if (kind < 11) {
      // Trim leaves a choice; what it chose is then what stays.
      await device.trim(offset, length);
      const found = await readAt(device, offset, length);
      content.set(found, offset);
      return;
    }
    if (kind < 12) return device.flush();
    if (kind < 13) return checkExtents(device, offset, length);
    const wanted = content.slice(offset, end);
    expectSame(await readAt(device, offset, length), wanted, `read of ${length} at ${offset}`);
  }
}
