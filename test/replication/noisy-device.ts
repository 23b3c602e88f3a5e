/**
 * A device whose power can be cut, and that may leave noise in one sector of what was not durable: a sector that tore in
 * itself. And what a cut leaves as a device whose power can be cut again.
 */
import { byteLength } from '../../src/device/buffers.js';
import type { Buffers, WriteOptions } from '../../src/device/contract.js';
import type { MemoryDevice } from '../../src/device/memory.js';
import { SparseMemory } from '../../src/device/sparse-memory.js';
import { SeededRandom } from '../support/devices/seeded-random.js';
import {
  type CutMode,
  VolatileDevice,
  type VolatileDeviceOptions,
} from '../support/devices/volatile-device.js';

const SECTOR_BYTES = 512;
const HALF_BYTES = SECTOR_BYTES / 2;

interface Unflushed {
  readonly offset: number;
  readonly length: number;
  hasEnded: boolean;
}

export class NoisyDevice extends VolatileDevice {
  #unflushed: Unflushed[] = [];

  override async write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const write: Unflushed = { offset, length: byteLength(from), hasEnded: false };
    this.#unflushed.push(write);
    await super.write(offset, from, options);
    write.hasEnded = true;
    if (options.fua === true) this.#unflushed = this.#unflushed.filter((other) => other !== write);
  }

  override async flush(): Promise<void> {
    const covered = new Set(this.#unflushed.filter(({ hasEnded }) => hasEnded));
    await super.flush();
    this.#unflushed = this.#unflushed.filter((write) => !covered.has(write));
  }

  /** What the cut leaves; in half of the cases half of a sector that was being written is noise. */
  async cut(
    random: SeededRandom,
    mode: CutMode = 'random',
    hasNoise = random.chance(0.5),
  ): Promise<MemoryDevice> {
    const unflushed = this.#unflushed;
    const left = this.cutPower(random.below(2 ** 32), mode);
    if (!hasNoise || unflushed.length === 0) return left;
    const { offset, length } = random.pick(unflushed);
    const at = offset + SECTOR_BYTES * random.below(length / SECTOR_BYTES);
    const sector = new Uint8Array(SECTOR_BYTES);
    await left.read(at, sector);
    sector.set(random.bytes(HALF_BYTES), random.pick([0, HALF_BYTES]));
    await left.write(at, sector);
    return left;
  }
}

/** What is on `left`, all of it durable, as a device that may lose power again. */
export async function poweredAgain(left: MemoryDevice, options: VolatileDeviceOptions): Promise<NoisyDevice> {
  const content = new SparseMemory(SECTOR_BYTES);
  for (const { offset, length, kind } of await left.extents(0, left.size)) {
    if (kind === 'hole') continue;
    const bytes = new Uint8Array(length);
    await left.read(offset, bytes);
    content.write(offset, length, bytes);
  }
  return new NoisyDevice(left.size, options, content);
}

/** Ends when all of these have: what ends them early may be that the power is off, and nothing else. */
export async function endedOrOff(calls: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(calls)) {
    if (outcome.status === 'rejected' && !String(outcome.reason).includes('the power is off'))
      throw outcome.reason;
  }
}

/** How many of so many runs, each with choices of its own, end with an error that says such a loss. */
export async function losses(
  runs: number,
  loss: RegExp,
  run: (random: SeededRandom) => Promise<void>,
): Promise<number> {
  let lost = 0;
  for (let seed = 1; seed <= runs; seed++) {
    await run(new SeededRandom(seed)).catch((error: unknown) => {
      if (!loss.test(String(error))) throw error;
      lost += 1;
    });
  }
  return lost;
}
