/**
 * How the devices of a volume are put on top of each other, and taken down in order.
 */

import { WriteBackCache } from '../device/cache/index.js';
import type { BlockDevice } from '../device/contract.js';

/** Memory of a volume's cache. */
const CACHE_BYTES = 64 * 1024 * 1024;

/** What is written to where nothing makes a stripe. */
export const RAW_STRIPE_BYTES = 1024 * 1024;

export function cached(lower: BlockDevice, stripeBytes: number, capacityBytes = CACHE_BYTES): WriteBackCache {
  return new WriteBackCache(lower, { capacityBytes, stripeBytes, closeLower: false });
}

/** Takes every step, whatever the ones before came to; throws the first failure. */
export async function closeInOrder(steps: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    await step().catch((error: unknown) => {
      failures.push(error);
    });
  }
  if (failures.length > 0) throw failures[0];
}
