/** The conformance suite over the cache, on lower devices of several kinds. */
import { type CacheOptions, WriteBackCache } from '../../../src/device/cache/index.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { describeBlockDevice, SMALLEST_SIZE, type Subject } from '../../conformance/block-device.js';
import { FaultyBatchDevice, FaultyDevice } from '../../support/devices/faulty-device.js';
import { Promptly } from '../../support/devices/promptly.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';

const KIB = 1024;
const SIZE = SMALLEST_SIZE + 64 * KIB;
const LARGE: CacheOptions = { capacityBytes: 4 * 1024 * KIB, stripeBytes: 96 * KIB };
/** Sixteen blocks: everything waits for room nearly all the time. */
const TINY: CacheOptions = { capacityBytes: 64 * KIB, stripeBytes: 12 * KIB, batchBytes: 16 * KIB };

function cacheOver(lower: BlockDevice, options: CacheOptions): Subject {
  const device = new WriteBackCache(lower, options);
  return { device, cleanup: () => device.close() };
}

describeBlockDevice('WriteBackCache over memory', {
  make: async () => cacheOver(new MemoryDevice(SIZE), LARGE),
  supports: { holes: true },
});

describeBlockDevice('WriteBackCache of 16 blocks over a slow device, by prompt calls', {
  make: async () => {
    const lower = new FaultyBatchDevice(new MemoryDevice(SIZE), { seed: 12, maxDelayTurns: 4 });
    const device = new Promptly(new WriteBackCache(lower, TINY));
    return { device, cleanup: () => device.close() };
  },
  supports: { holes: true },
});

describeBlockDevice('WriteBackCache of 16 blocks over memory that ends within a block', {
  make: async () => cacheOver(new MemoryDevice(SIZE + 1536), TINY),
  supports: { holes: true },
});

describeBlockDevice('WriteBackCache of 16 blocks over a slow device that takes batches', {
  make: async () => {
    const lower = new FaultyBatchDevice(new MemoryDevice(SIZE), { seed: 11, maxDelayTurns: 4 });
    const subject = cacheOver(lower, TINY);
    return {
      ...subject,
      failNextFlush: () => void lower.addRule({ operations: ['flush'], nth: 1 }),
      cleanup: checked(subject, lower),
    };
  },
  supports: { holes: true, failingFlush: true },
});

describeBlockDevice('WriteBackCache over a slow device with blocks of 4096 bytes', {
  make: async () => {
    const lower = new FaultyDevice(new MemoryDevice(SIZE, { blockSize: 4096 }), {
      seed: 13,
      maxDelayTurns: 4,
    });
    const subject = cacheOver(lower, LARGE);
    return { ...subject, cleanup: checked(subject, lower) };
  },
  supports: { holes: true },
});

describeBlockDevice('WriteBackCache over a volatile device, after a power cut that leaves the least', {
  make: async () => {
    const lower = new VolatileDevice(SIZE, { seed: 17, maxDelayTurns: 3 });
    const subject = cacheOver(lower, TINY);
    let after: BlockDevice | null = null;
    return {
      device: subject.device,
      reopen: async () => {
        after = new WriteBackCache(lower.cutPower(1, 'none'), TINY);
        return after;
      },
      cleanup: async () => {
        await after?.close();
        await subject.cleanup();
      },
    };
  },
  supports: { holes: true, durability: true },
});

/** At the end of every test: the calls below never overlapped. */
function checked(subject: Subject, lower: FaultyDevice): () => Promise<void> {
  return async () => {
    await subject.cleanup();
    if (lower.overlaps.length > 0) throw new Error(`overlapping calls below: ${lower.overlaps.join('; ')}`);
  };
}
