/**
 * What arrays are used for while the power is cut: small ones, so that what a cut may leave of them can be gone
 * through, and each for a part of the RAID layer that has promises of its own.
 */

import type { SeededRandom } from '../../../crash/seeded-random.js';
import { joinMember } from '../../../raid/membership.js';
import { sizeOf, type TestShape } from './arrays.js';
import { SECTOR_BYTES, type WitnessedDevice } from './history.js';
import type { Bench, Workload } from './recording.js';
import { addBitmap } from './write-intent-bitmap.js';

const CHUNK_BYTES = 4096;
const FOUR: TestShape = { members: 4, chunkBytes: CHUNK_BYTES, layout: 2, stripes: 6 };
const STRIPE_BYTES = CHUNK_BYTES * (FOUR.members - 1);
/** Of metadata 1.2, which these have. */
const SUPERBLOCK_OFFSET = 4096;
const SUPERBLOCK_BYTES = 4096;
const THREE: TestShape = { members: 3, chunkBytes: 65_536, layout: 2, stripes: 2 };

interface Written {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** So many ranges that do not overlap, near each other so that they share stripes. */
function apart(random: SeededRandom, shape: TestShape, count: number): Written[] {
  const partSectors = Math.floor(sizeOf(shape) / SECTOR_BYTES / count);
  return Array.from({ length: count }, (_, index) => {
    const sectors = Math.min(partSectors, random.pick([1, 2, 8, 12, 30]));
    const first = index * partSectors + random.below(partSectors - sectors + 1);
    return { offset: first * SECTOR_BYTES, bytes: random.bytes(sectors * SECTOR_BYTES) };
  });
}

/** Ends when all have ended, well or not. */
async function all(work: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work))
    if (outcome.status === 'rejected') throw outcome.reason;
}

async function writeAll(device: WitnessedDevice, writes: readonly Written[], fua = false): Promise<void> {
  await all(writes.map(({ offset, bytes }) => device.write(offset, bytes, fua)));
}

/** Writes and flushes, some at once. */
async function mixture(
  bench: Bench,
  shape: TestShape,
  device: WitnessedDevice,
  steps: number,
): Promise<void> {
  const { random } = bench;
  for (let step = 0; step < steps; step++) {
    await writeAll(device, apart(random, shape, random.between(1, 3)), random.chance(0.15));
    if (random.chance(0.4)) await device.flush();
  }
}

/** Two rounds of so many writers each, and a flush between them. */
async function flushedBetween(
  bench: Bench,
  shape: TestShape,
  [first, second]: readonly [number, number],
): Promise<void> {
  const { array, witnessed } = await bench.open();
  await writeAll(witnessed, apart(bench.random, shape, first));
  await witnessed.flush();
  await writeAll(witnessed, apart(bench.random, shape, second));
  await array.close();
}

const several: Workload = {
  name: 'several writers on the same stripes',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    for (let round = 0; round < 3; round++) {
      await writeAll(witnessed, apart(bench.random, FOUR, 4));
      if (round !== 1) await witnessed.flush();
    }
    await array.close();
  },
};

const scattered: Workload = {
  name: 'one stripe after another, in no order',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    const { random } = bench;
    // Each wants a record of its own, while what was written before is not flushed.
    for (const stripe of [4, 1, 5, 2, 0]) {
      const offset = stripe * STRIPE_BYTES + SECTOR_BYTES * random.below(20);
      await writeAll(witnessed, [{ offset, bytes: random.bytes(2 * SECTOR_BYTES) }]);
      if (stripe === 5) await witnessed.flush();
    }
    await array.close();
  },
};

const foretold: Workload = {
  name: 'stripes that were told of before they are written',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    const { random } = bench;
    const sectorsOf = (stripe: number) => {
      const offset = stripe * STRIPE_BYTES + SECTOR_BYTES * random.below(20);
      return { offset, bytes: random.bytes(2 * SECTOR_BYTES) };
    };
    // Of some the first write finds them listed, of one it comes while they are being listed; one is never written.
    array.willWrite(2 * STRIPE_BYTES, 3 * STRIPE_BYTES);
    await writeAll(witnessed, [sectorsOf(0)]);
    await writeAll(witnessed, [sectorsOf(3)]);
    await witnessed.flush();
    array.willWrite(STRIPE_BYTES, STRIPE_BYTES);
    await writeAll(witnessed, [sectorsOf(0), sectorsOf(2)]);
    await writeAll(witnessed, [sectorsOf(1)]);
    await array.activity.rest();
    array.willWrite(5 * STRIPE_BYTES, STRIPE_BYTES);
    await writeAll(witnessed, [sectorsOf(0)]);
    await writeAll(witnessed, [sectorsOf(5)]);
    await array.close();
  },
};

const mixed: Workload = {
  name: 'writes, flushes and fua',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    await mixture(bench, FOUR, witnessed, 6);
    await array.close();
  },
};

const flushing: Workload = {
  name: 'flushes while others write',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    const [first, ...others] = apart(bench.random, FOUR, 4);
    await writeAll(witnessed, [first!]);
    await all([witnessed.flush(), writeAll(witnessed, others)]);
    await writeAll(witnessed, [{ ...first!, bytes: bench.random.bytes(first!.bytes.length) }]);
    await witnessed.flush();
    await array.close();
  },
};

const resting: Workload = {
  name: 'rests when nobody writes, and is written again',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    for (let round = 0; round < 3; round++) {
      await writeAll(witnessed, apart(bench.random, FOUR, 2));
      await array.activity.rest();
    }
    // One comes while it goes to rest.
    await writeAll(witnessed, apart(bench.random, FOUR, 1));
    await all([array.activity.rest(), writeAll(witnessed, apart(bench.random, FOUR, 2))]);
    await array.close();
  },
};

const reopened: Workload = {
  name: 'stops and is opened again',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    for (let round = 0; round < 3; round++) {
      const { array, witnessed } = await bench.open();
      await writeAll(witnessed, apart(bench.random, FOUR, 2));
      await array.close();
    }
  },
};

const batches: Workload = {
  name: 'batches of whole and partial stripes',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    const { random } = bench;
    for (const stripe of [0, 3]) {
      const writes = [
        { offset: stripe * STRIPE_BYTES, from: random.bytes(STRIPE_BYTES) },
        { offset: (stripe + 1) * STRIPE_BYTES + CHUNK_BYTES, from: random.bytes(SECTOR_BYTES) },
        { offset: (stripe + 2) * STRIPE_BYTES, from: random.bytes(CHUNK_BYTES + 1024) },
      ];
      await witnessed.batch(writes, () => array.writeBatch(writes));
      await witnessed.flush();
    }
    await array.close();
  },
};

const zeroes: Workload = {
  name: 'whole stripes made zeroes',
  shape: FOUR,
  isHealthy: true,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    const { random } = bench;
    await writeAll(witnessed, [{ offset: 0, bytes: random.bytes(4 * STRIPE_BYTES) }]);
    await witnessed.flush();
    await witnessed.writeZeroes(CHUNK_BYTES, 3 * STRIPE_BYTES);
    await writeAll(witnessed, [{ offset: 2 * STRIPE_BYTES + 1024, bytes: random.bytes(2048) }]);
    await witnessed.flush();
    await array.close();
  },
};

const large: Workload = {
  name: 'three members with chunks of 64 KiB',
  shape: THREE,
  isHealthy: true,
  run: (bench) => flushedBetween(bench, THREE, [4, 2]),
};

const withBitmap: Workload = {
  name: 'with an internal bitmap of the kernel beside the record',
  shape: FOUR,
  isHealthy: true,
  prepare: (members) => addBitmap(members, CHUNK_BYTES),
  run: (bench) => flushedBetween(bench, FOUR, [2, 2]),
};

const degraded: Workload = {
  name: 'a member is away',
  shape: FOUR,
  isHealthy: false,
  away: 0,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    await mixture(bench, FOUR, witnessed, 4);
    await array.close();
  },
};

const rebuilt: Workload = {
  name: 'a new member is rebuilt while others write',
  shape: FOUR,
  isHealthy: false,
  away: 1,
  prepare: ([, member]) => member!.write(SUPERBLOCK_OFFSET, new Uint8Array(SUPERBLOCK_BYTES)),
  async run(bench) {
    const { array, witnessed } = await bench.open();
    const slot = array.core.slots[1]!;
    const joined = joinMember(array, bench.absent!, slot);
    await all([joined.then((member) => array.rebuild(slot, member)), mixture(bench, FOUR, witnessed, 3)]);
    await mixture(bench, FOUR, witnessed, 1);
    await array.close();
  },
};

const failing: Workload = {
  name: 'a member fails',
  shape: FOUR,
  isHealthy: false,
  async run(bench) {
    const { array, witnessed } = await bench.open();
    await writeAll(witnessed, apart(bench.random, FOUR, 3));
    await witnessed.flush();
    bench.members[2]!.failWrites(array.core.slots[2]!.member!.superblock.dataOffset);
    await mixture(bench, FOUR, witnessed, 3);
    await array.close();
  },
};

/** Every one of them is explored in CI, in two halves of about the same cost. */
export const FIRST_HALF: readonly Workload[] = [several, scattered, mixed, resting, degraded, large, rebuilt];
export const SECOND_HALF: readonly Workload[] = [
  flushing,
  foretold,
  reopened,
  batches,
  zeroes,
  withBitmap,
  failing,
];
